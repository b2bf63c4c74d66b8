"""The cases of the ground truth, measured from the client's node in a lab by one process.

Each host is probed once, as `port25lab probe` does; with a message only where the mechanism shows in a message.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ground_truth import NOWHERE, OF_ENDS, Case
from port25lab.lab.handle import Lab
from port25lab.model.plan import Plan
from port25lab.probe.client_view import ClientView
from port25lab.probe.measure import PORTS

SECONDS = 5.0
MESSAGE = 8_000
"""Bytes of a message: several full packets, as the command sends."""

CA = "SSL_CERT_FILE=/run/port25lab/ca.pem"
WITHOUT_PRIVILEGES = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")

SMALL_HELLO = Path(__file__).parent / "small_hello.cnf"

PROGRAM = (
    f"""
import os
os.environ["OPENSSL_CONF"] = {str(SMALL_HELLO)!r}
"""
    + """
import asyncio, json, sys
from port25lab.kernel.patient_loop import PatientLoop, starved_seconds
from port25lab.mail.message import build_message
from port25lab.probe.measure import Request, probe, without_address
from port25lab.probe.names import UnresolvedError
from port25lab.probe.talk import Message

async def one(host, mx, versions, ports, seconds, port, message):
    if message is not None:
        sender, recipient, size, user, password = message
        message = Message(sender, recipient, build_message("0", sender, recipient, size), user, password)
    more = {"ip_versions": versions, "ports": ports, "seconds": seconds, "message": message, "message_port": port}
    request = Request(host, mx=mx, **more)
    try:
        return await probe(request)
    except UnresolvedError as error:
        return await without_address(request, error)

async def main():
    views = await asyncio.gather(*(one(*asked) for asked in json.load(sys.stdin)))
    print(json.dumps([starved_seconds(), [view.model_dump(mode="json") for view in views]]))

with asyncio.Runner(loop_factory=PatientLoop) as runner:
    runner.run(main())
"""
)


@dataclass(frozen=True)
class Asked:
    """The parameters of one probe."""

    host: str
    mx: bool
    versions: tuple[int, ...]
    ports: tuple[int, ...]
    port: int
    message: tuple[str, str, int, str | None, str | None] | None


def asked(case: Case, plan: Plan) -> Asked:
    """The probe for a case."""
    path = case.question().path
    to, mx = str(path.to).removeprefix("mx:"), str(path.to).startswith("mx:")
    nowhere = case.truth.to == "nowhere"
    host = NOWHERE[case.version] if nowhere else to if mx else plan.nodes[to].hostname
    # Another probe of port 25 would use up a limit on it.
    ports = PORTS if path.port == 25 else tuple(port for port in PORTS if port != 25)
    with_message = (case.truth in OF_ENDS and not nowhere) or path.size
    user = (path.auth.user, path.auth.password or f"{path.auth.user}-secret") if path.auth else (None, None)
    message = (
        ("client@isp.example", path.recipient, min(path.size, MESSAGE), *user)
        if with_message and path.recipient
        else None
    )
    return Asked(host, mx, (case.version,) if nowhere else (4, 6), ports, path.port, message)


@dataclass(frozen=True)
class Looked:
    """What a prober found in a lab."""

    views: dict[Asked, ClientView]
    asked: list[tuple[Case, Asked]]
    late: float
    """Seconds in which the prober or the lab wanted a processor and got none. Limits of rules and of TCP went on."""


def look(lab: Lab, source: str, cases: Iterable[Case], *prefix: str) -> Looked:
    """Probe for all cases at once from a node. ``prefix``: a program that the prober is run by, and its arguments."""
    wanted = [(case, asked(case, lab.plan)) for case in cases]
    order = list(dict.fromkeys(one for _, one in wanted))
    question: list[Any] = [[one.host, one.mx, one.versions, one.ports, SECONDS, one.port, one.message] for one in order]
    argv = ("env", CA, *prefix, sys.executable, "-c", PROGRAM)
    before = _waited(lab.pid)
    done = lab.run(source, argv, stdin=json.dumps(question), seconds=120)
    assert done.returncode == 0, done.stderr
    starved, views = json.loads(done.stdout)
    found = dict(zip(order, map(ClientView.model_validate, views), strict=True))
    return Looked(found, wanted, starved + _waited(lab.pid) - before)


def _waited(pid: int) -> float:
    """Seconds that a process has waited for a processor so far (proc_pid_schedstat, second field)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
