"""Evidence and verdicts for tests: what a test does not care about is filled in here."""

from __future__ import annotations

from typing import Any

from port25lab.model.evidence import (
    Blame,
    Decision,
    Effect,
    Evidence,
    Hop,
    Observation,
    PacketSeen,
    PacketSummary,
    Stage,
    StreamDifference,
    StreamSide,
)
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.verdict import Report, Verdict

MX = "203.0.113.25"
MX6 = "2001:db8:113::25"

HOSTILE = "550 5.7.1 no\r\n\x1b[2J\x1b]0;owned\x07<b>&amp;]]></failure>\x00\u202egnp.exe\udcff\ufffe[red]x[/red]"
"""A reply that tries to break a terminal, an XML file and a log at once."""


def seen(stage: Stage = Stage.DONE, **more: Any) -> Observation:
    """What a client saw; a whole delivery if nothing is said."""
    done = {"smtp_code": 250, "reply": "2.0.0 Ok"} if stage is Stage.DONE else {}
    return Observation(**{"stage": stage, "seconds": 0.02, "address": MX} | done | more)


def rule(node: str = "isp-edge", number: int | None = 4, **more: Any) -> Blame:
    """A rule of OP25B."""
    usual = {
        "node": node,
        "family": "ip",
        "table": "filter",
        "chain": "op25b",
        "rule_number": number,
        "rule": "-A op25b -m set --match-set dynamic-customers src -j DROP",
        "policy": "op25b",
        "file": "/catalogue/policies/op25b/rules.v4",
        "line": 12,
    }
    return Blame(**usual | more)


def decision(effect: Effect = Effect.DROP, blame: Blame | None = None) -> Decision:
    """The kernel's word on a SYN."""
    syn = PacketSummary(kind="SYN", source="198.51.100.7", source_port=20000, destination=MX, destination_port=25)
    return Decision(blame=blame or rule(), effect=effect, traced=syn)


def on_answer(effect: Effect = Effect.DROP) -> Decision:
    """The kernel's word on what a server answered to a SYN."""
    answer = PacketSummary(
        kind="SYN-ACK", source=MX, source_port=25, destination="198.51.100.7", destination_port=20000
    )
    return decision(effect).model_copy(update={"traced": answer})


def in_session(effect: Effect = Effect.DROP, text: str = "-A FORWARD -p tcp -j DROP") -> Decision:
    """The kernel's word on a packet of a session that was open already."""
    return Decision(blame=rule(rule=text), effect=effect, traced=PacketSummary(kind="segment"), in_session=True)


def difference(client: str, server: str) -> StreamDifference:
    """The two sides of a middlebox, by a line of each."""
    return StreamDifference(
        direction="server to client",
        offset=4,
        client_side=StreamSide(line=client),
        server_side=StreamSide(line=server),
    )


def wire(*packets: str) -> list[PacketSeen]:
    """Packets by their kind and the node that made them, after the client's SYN: ``wire("FIN isp-edge", "FIN pc")``."""
    made = [packet.split() for packet in ("SYN pc", *packets)]
    return [
        PacketSeen(
            node=node,
            interface="eth0",
            seconds=number / 10,
            leaving=True,
            kind=kind,
            source=MX,
            destination=MX,
            ttl=64,
        )
        for number, (kind, node) in enumerate(made)
    ]


def ended(stage: Stage, errno: str | None = None, **more: Any) -> Evidence:
    """Evidence of an attempt that ended at a stage."""
    about = {name: more.pop(name) for name in set(more) & set(Observation.model_fields)}
    return Evidence(observation=seen(stage, errno=errno, **about), **more)


def replied(stage: Stage, code: int, reply: str = "", enhanced: str | None = None, **more: Any) -> Evidence:
    """Evidence of an attempt that a server's reply ended."""
    return ended(stage, smtp_code=code, enhanced_code=enhanced, reply=reply, **more)


def delivered() -> Evidence:
    """Evidence of a message in its mailbox."""
    return ended(Stage.DONE, delivered_to="example-mx", answered_by="example-mx", dialled="example-mx")


def dropped(**more: Any) -> Evidence:
    """Evidence of a SYN that a rule dropped."""
    return ended(Stage.CONNECT, "ETIMEDOUT", **{"decisions": [decision()]} | more)


def hop(stage: Stage = Stage.CONNECT, errno: str | None = None, **more: Any) -> Hop:
    """One try of the ISP's relay to pass a message on to the recipient's MX."""
    about = {name: more.pop(name) for name in set(more) & set(Observation.model_fields)}
    usual = {"node": "isp-relay", "to": "mx.example.net", "observation": seen(stage, errno=errno, **about)}
    return Hop(**usual | more)


def verdict(outcome: Outcome = Outcome.DELIVERED, **more: Any) -> Verdict:
    """A verdict on self-hosted mail from home to the recipient's MX: S3 of the seed article."""
    version = more.get("ip_version", 4)
    blocked = outcome is Outcome.DROPPED
    usual: dict[str, Any] = {
        "scenario": "residential",
        "variant": "op25b",
        "path": f"residential/op25b/S3-home-server-to-mx:example.net-25/ipv{version}",
        "ref": "S3",
        "source": "home-server",
        "to": "mx:example.net",
        "port": 25,
        "ip_version": version,
        "security": "none",
        "auth": None,
        "client": "aiosmtplib",
        "policies": {"isp-edge": ["op25b"]},
        "outcome": outcome,
        "mechanism": Mechanism.SYN_DROP if blocked else Mechanism.NONE,
        "expected": outcome,
        "ok": more.get("expected", outcome) in (outcome, None) and outcome is not Outcome.ERROR,
        "blame": rule(family="ip6" if version == 6 else "ip") if blocked else None,
        "observation": seen(Stage.CONNECT, errno="ETIMEDOUT", seconds=1.3) if blocked else seen(),
    }
    return Verdict(**usual | more)


def report(*verdicts: Verdict) -> Report:
    """A run's report."""
    return Report(tool={"name": "port25lab", "version": "0"}, environment={"seconds": 1.5}, verdicts=list(verdicts))
