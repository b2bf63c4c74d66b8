"""The cases of the ground truth, measured from the client's node in a lab by one process.

Each host is probed once, as `port25lab probe` does; with a message only where the mechanism shows in a message.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
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

PROGRAM = """
import asyncio, json, sys
from port25lab.mail.message import build_message
from port25lab.errors import InputError
from port25lab.probe.client_view import ClientView
from port25lab.probe.measure import Request, probe
from port25lab.probe.talk import Message

async def one(host, mx, versions, ports, seconds, port, message):
    if message is not None:
        sender, recipient, size, user, password = message
        message = Message(sender, recipient, build_message("0", sender, recipient, size), user, password)
    more = {"ip_versions": versions, "ports": ports, "seconds": seconds, "message": message, "message_port": port}
    try:
        return await probe(Request(host, mx=mx, **more))
    except InputError as error:
        return ClientView(host=host, target=host, unresolved=error.what)

async def main():
    views = await asyncio.gather(*(one(*asked) for asked in json.load(sys.stdin)))
    print(json.dumps([view.model_dump(mode="json") for view in views]))

asyncio.run(main())
"""


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


def look(lab: Lab, source: str, wanted: Iterable[Asked], *prefix: str) -> dict[Asked, ClientView]:
    """Probe all of them at once from a node. ``prefix``: a program that the prober is run by, and its arguments."""
    order = list(dict.fromkeys(wanted))
    question: list[Any] = [[one.host, one.mx, one.versions, one.ports, SECONDS, one.port, one.message] for one in order]
    argv = ("env", CA, *prefix, sys.executable, "-c", PROGRAM)
    done = lab.run(source, argv, stdin=json.dumps(question), seconds=60)
    assert done.returncode == 0, done.stderr
    views = [ClientView.model_validate(view) for view in json.loads(done.stdout)]
    return dict(zip(order, views, strict=True))
