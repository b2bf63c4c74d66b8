"""The client `postfix`: a real Postfix as the sender's own mail server, as people run it at home.

An instance for each attempt, with a configuration and a queue of its own in the lab's /run, as long as the attempt
takes. The message goes into its queue by sendmail(1); from there Postfix delivers by itself: to the MX that the DNS
names, or to a relayhost. Everything known about that comes from its own log (postlogd(8), to stdout).
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
"""A folder for each instance, numbered in order; the queue stays there for whoever wants to look at it."""

OWNER, GROUP = "postfix", "postdrop"
"""Postfix' own user and group, of Debian's package: it refuses to be root where it need not be."""

MASTER = Path("/usr/lib/postfix/sbin/master")
"""The process that is Postfix, at Debian's place. postfix(1) starts it after seconds of checks by shell scripts."""

PROGRAM_SECONDS = 10.0

PUT_AWAY_SECONDS = 2.0
"""How long the queue manager may take to move a message once the log has said what became of it: milliseconds."""

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
"""What of master.cf it takes to send mail. Nothing listens on the network."""

_TIMERS = ("connect", "helo", "starttls", "mail", "rcpt", "data_init", "data_xfer", "data_done", "quit")

_numbers = count(1)


class Postfix:
    """Runs Postfix and reads its log."""

    async def deliver(
        self, host: LabHost, target: Target, submission: Submission, ca_file: Path
    ) -> tuple[Observation, list[Hop]]:
        """Hand over a message, and read the log until it tells what became of it."""
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
        seen = Observation(
            stage=Stage.DONE,
            enhanced_code=end.enhanced_code,
            reply=end.text,
            seconds=round(time.perf_counter() - started, 6),
            address=tries[-1].observation.address if tries else None,
        )
        return seen, tries


def configuration(hostname: str, target: Target, submission: Submission, ca_file: Path) -> dict[str, str]:
    """What main.cf says apart from the defaults and the instance's own folders (postconf(5))."""
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
    settings["smtp_per_request_deadline"] = "yes"  # for the answer, not for each of its lines
    if submission.username is not None:
        login = f"{submission.username}:{submission.password or ''}".replace("$", "$$")
        settings |= {
            "smtp_sasl_auth_enable": "yes",
            "smtp_sasl_password_maps": f"static:{login}",
            "smtp_sasl_security_options": "noanonymous",
        }
    return settings


def _relayhost(target: Target, recipient: str) -> str:
    """Nothing where Postfix comes to the destination by the recipient's MX; in brackets a host, else a domain."""
    if target.domain and target.port == 25:
        return "" if recipient.rpartition("@")[2].lower() == target.domain.lower() else target.domain
    return f"[{target.host}]:{target.port}"


def _instance(node: str, settings: dict[str, str]) -> Path:
    """The folders of one more instance, with the owners that postfix-files(5) wants; returns that of main.cf."""
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
    os.utime(config / "main.cf", (0, 0))  # Postfix reads a file that is seconds old again and again, until it has aged
    (config / "master.cf").write_text(SERVICES)
    return config


def _make(folder: Path, mode: int, owner: int, group: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    os.chown(folder, owner, group)


async def _put_away(active: Path) -> None:
    """Wait until the message has left the active queue: it is gone, or deferred. qmgr(8) does not log the latter."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PUT_AWAY_SECONDS):
            while active.exists():
                await asyncio.sleep(0.005)


async def _read(stdout: asyncio.StreamReader, wanted: str, log: list[LogLine]) -> None:
    """Read the log up to a line that has what is wanted in it; all lines are kept."""
    while not log or wanted not in log[-1].text:
        started = time.perf_counter()
        line = (await stdout.readline()).decode(errors="replace").rstrip()
        if not line or ": fatal: " in line:
            why = line.split(": fatal: ", 1)[1] if line else log[-1].text if log else "no word of it"
            raise LabError(f"Postfix ended: {why}")
        log.append(LogLine(line, time.perf_counter() - started))
