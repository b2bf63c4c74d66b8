"""The client `postfix`: a real Postfix as the sender's own mail server, as people run it at home.

Each attempt has an instance of its own, with its configuration and queue in the lab's /run. sendmail(1) puts the
message into the queue; from there Postfix delivers by itself: to the MX that the DNS names, or to a relayhost. The
evidence comes from its log (postlogd(8), to stdout).
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from port25lab.errors import LabError
from port25lab.mail.clients import postfix_log
from port25lab.mail.clients.base import Target
from port25lab.mail.clients.postfix_log import LogLine
from port25lab.mail.smtp_session import Submission
from port25lab.model.evidence import Hop, Observation, Stage
from port25lab.model.path import Security

if TYPE_CHECKING:
    from port25lab.network.host import LabHost


PLACE = Path("/run/postfix")
"""A folder for each instance, numbered in order. The queue stays there, so that it can be inspected."""

OWNER, GROUP = "postfix", "postdrop"
"""Postfix' own user and group in Debian's package: it refuses to run as root where it need not."""

MASTER = Path("/usr/lib/postfix/sbin/master")
"""Postfix' main process, in Debian's package. postfix(1) starts it only after seconds of checks by shell scripts."""

PROGRAM_SECONDS = 10.0

PUT_AWAY_SECONDS = 2.0
"""How long the queue manager may take to move a message after its last line in the log; it takes milliseconds."""

SERVICES = """\
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
showq unix n - n - - showq
tlsmgr unix - - n 1000? 1 tlsmgr
"""
"""The services of master.cf that are needed to send mail. None listens on the network."""

_TIMERS = ("connect", "helo", "starttls", "mail", "rcpt", "data_init", "data_xfer", "data_done", "quit")

_numbers = count(1)


class Postfix:
    """Runs Postfix and reads its log."""

    async def deliver(
        self, host: LabHost, target: Target, submission: Submission, ca_file: Path
    ) -> tuple[Observation, list[Hop]]:
        """Queue a message, and read the log until it has the message's end."""
        started = time.perf_counter()
        config = _instance(host.name, configuration(host.hostname, target, submission, ca_file))
        log: list[LogLine] = []
        async with host.running([str(MASTER), "-c", str(config), "-s"]) as stdout:
            await _read(stdout, "daemon started", log)
            argv = ["sendmail", "-C", str(config), "-i", "-f", submission.mail_from, "--", submission.rcpt_to]
            done = await host.run(argv, stdin=submission.message, seconds=PROGRAM_SECONDS)
            if done.returncode or done.timed_out:
                raise LabError(
                    f"sendmail on {host.name}: {done.stderr.decode(errors='replace').strip() or 'no answer'}"
                )
            await _read(stdout, "status=", log)
            end = postfix_log.status(log)
            await _put_away(config.with_name("queue") / "active" / end.queue_id)
        tries = postfix_log.tries(log, host.name, target.host)
        observation = Observation(
            stage=Stage.DONE,
            enhanced_code=end.enhanced_code,
            reply=end.text,
            seconds=round(time.perf_counter() - started, 6),
            address=tries[-1].observation.address if tries else None,
        )
        return observation, tries


def configuration(hostname: str, target: Target, submission: Submission, ca_file: Path) -> dict[str, str]:
    """The settings of main.cf that differ from the defaults, without the instance's folders (postconf(5))."""
    settings = {
        "compatibility_level": "3.6",
        "maillog_file": "/dev/stdout",
        "myhostname": hostname,
        "mydestination": "",
        "inet_protocols": f"ipv{target.ip_version}" if target.ip_version else "all",
        "relayhost": _relayhost(target, submission.rcpt_to),
        "smtp_tls_CAfile": str(ca_file),
        "smtp_tls_security_level": "none" if submission.security is Security.NONE else "secure",
        "smtp_tls_wrappermode": "yes" if submission.security is Security.IMPLICIT else "no",
    }
    settings |= {f"smtp_{timer}_timeout": f"{submission.timeout:.0f}s" for timer in _TIMERS}
    settings["smtp_per_request_deadline"] = "yes"  # for the whole reply, not for each of its lines
    if submission.username is not None:
        login = f"{submission.username}:{submission.password or ''}".replace("$", "$$")
        settings |= {
            "smtp_sasl_auth_enable": "yes",
            "smtp_sasl_password_maps": f"static:{login}",
            "smtp_sasl_security_options": "noanonymous",
        }
    return settings


def _relayhost(target: Target, recipient: str) -> str:
    """Empty where the recipient's MX is the destination; otherwise a host in brackets, or a domain."""
    if target.domain and target.port == 25:
        return "" if recipient.rpartition("@")[2].lower() == target.domain.lower() else target.domain
    return f"[{target.host}]:{target.port}"


def _instance(node: str, settings: dict[str, str]) -> Path:
    """Make the folders of one more instance, with the owners of postfix-files(5). Returns the folder of main.cf."""
    place = PLACE / f"{node}-{next(_numbers)}"
    config, queue, data = place / "config", place / "queue", place / "data"
    owner, group = pwd.getpwnam(OWNER).pw_uid, grp.getgrnam(GROUP).gr_gid
    for folder in (config, queue / "pid"):
        folder.mkdir(parents=True)
    for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "trace"):
        _make(queue / name, 0o700, owner, 0)
    _make(data, 0o700, owner, 0)
    _make(queue / "public", 0o710, owner, group)
    _make(queue / "maildrop", 0o730, owner, group)
    own = {"queue_directory": queue, "data_directory": data, "mail_owner": OWNER, "setgid_group": GROUP}
    (config / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in {**settings, **own}.items()))
    os.utime(config / "main.cf", (0, 0))  # Postfix rereads a file again and again while it is only seconds old
    (config / "master.cf").write_text(SERVICES)
    return config


def _make(folder: Path, mode: int, owner: int, group: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    os.chown(folder, owner, group)


async def _put_away(active: Path) -> None:
    """Wait until the message has left the active queue: deleted, or deferred, which qmgr(8) does not log."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PUT_AWAY_SECONDS):
            while active.exists():
                await asyncio.sleep(0.005)


async def _read(stdout: asyncio.StreamReader, until: str, log: list[LogLine]) -> None:
    """Read lines into ``log`` until one has the text ``until`` in it. Raises LabError where Postfix ends before."""
    while not log or until not in log[-1].text:
        started = time.perf_counter()
        line = (await stdout.readline()).decode(errors="replace").rstrip()
        if not line or ": fatal: " in line:
            why = line.split(": fatal: ", 1)[1] if line else log[-1].text if log else "it wrote no log"
            raise LabError(f"Postfix ended: {why}")
        log.append(LogLine(line, time.perf_counter() - started))
