"""Made-up client views, for tests of the client-only classifier."""

from __future__ import annotations

from typing import Any

from port25lab.model.evidence import IcmpError, Stage
from port25lab.probe.client_view import Answer, ClientView, Session, Step, Trace

HOST, ADDRESS, DISTANCE = "mx.example.net", "192.0.2.25", 6
ROUTERS = ("192.168.1.1", "198.51.100.130", "198.51.100.5", "198.51.100.1", "192.0.2.129")


def session(port: int = 25, stage: Stage = Stage.DONE, **more: Any) -> Session:
    """A session that succeeded, except for the fields that are given."""
    usual: dict[str, Any] = {"host": HOST, "address": ADDRESS, "port": port, "ip_version": 4, "stage": stage}
    if stage is Stage.DONE:
        usual |= {"banner": f"{HOST} ESMTP", "keywords": ("SIZE", "STARTTLS"), "starttls": 220}
    return Session(**usual | more)


def silent(port: int = 25, **more: Any) -> Session:
    return session(port, Stage.CONNECT, errno="ETIMEDOUT", seconds=3.2, **more)


def reset(port: int = 25, **more: Any) -> Session:
    return session(port, Stage.CONNECT, errno="ECONNREFUSED", **more)


def refused(port: int, sender: str, kind: int, code: int, errno: str = "EHOSTUNREACH") -> Session:
    icmp = IcmpError(sender=sender, ip_version=4, type=kind, code=code)
    return session(port, Stage.CONNECT, errno=errno, icmp=icmp)


def trace(port: int, passed: int, end: Answer = Answer.SILENT, sender: str | None = None, host: str = HOST) -> Trace:
    """A traceroute. ``passed``: routers that report an expired TTL. ``end``: the answer to all greater TTLs."""
    steps = [Step(ttl=hop, answer=Answer.EXPIRED, sender=ROUTERS[hop - 1]) for hop in range(1, passed + 1)]
    steps += [Step(ttl=hop, answer=end, sender=sender) for hop in range(passed + 1, DISTANCE + 2)]
    address = ADDRESS if host == HOST else "192.0.2.29"
    return Trace(host=host, address=address, port=port, ip_version=4, steps=tuple(steps))


CONTROL = trace(587, 5, Answer.RESET)
"""The traceroute to a port that is not blocked."""


def view(*sessions: Session, traces: tuple[Trace, ...] = (), **more: Any) -> ClientView:
    return ClientView(host=HOST, target=HOST, sessions=sessions, traces=traces, **more)
