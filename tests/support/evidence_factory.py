"""Evidence and verdicts for tests: what a test does not care about is filled in here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from port25lab.model.evidence import (
    Arrival,
    Blame,
    Decision,
    Effect,
    Ended,
    Evidence,
    Hop,
    IcmpError,
    Observation,
    PacketSeen,
    PacketSummary,
    Stage,
    StreamDifference,
    StreamSide,
    TrailRule,
)
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome, Should
from port25lab.model.path import Auth, PathSpec
from port25lab.model.plan import Plan
from port25lab.model.question import LabConfig, Question
from port25lab.model.verdict import Chance, Control, Judgement, Reason, ReasonKind, Report, Verdict
from port25lab.verdict import judge
from port25lab.verdict.views import Classification

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


def led(*places: tuple[str, int]) -> Blame:
    """A rule to which others led: chain and number of each, the deciding one last."""
    trail = tuple(TrailRule(table="filter", chain=chain, rule_number=number, rule="-A …") for chain, number in places)
    return rule(number=places[-1][1], chain=places[-1][0], trail=trail)


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


def of_neighbour(family: str = "ip") -> Decision:
    """The kernel's word on a request for the next hop's link-layer address."""
    asked = PacketSummary(kind="neighbour solicitation", source="fe80::1", neighbour="2001:db8::1")
    return decision(blame=rule(family=family, chain="INPUT")).model_copy(update={"traced": asked})


def in_session(effect: Effect = Effect.DROP, *modules: str) -> Decision:
    """The kernel's word on a packet of a session that was open already. ``modules``: of the rule's matches."""
    traced = PacketSummary(kind="segment")
    return Decision(blame=rule(), effect=effect, traced=traced, in_session=True, modules=modules)


def diverted(target: str = "DNAT", number: int = 1, effect: Effect = Effect.DIVERT) -> Decision:
    """The kernel's word on a SYN that a rule sent elsewhere."""
    return decision(effect, rule(number=number, table="nat")).model_copy(update={"target": target})


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
    """A verdict on self-hosted mail from home to the recipient's MX: S3 of the seed article.

    ``more``: keys of the flat JSON, in which ``from`` is ``source``, and ``path`` is ``bare_id``.
    """
    blocked = outcome is Outcome.DROPPED
    usual: dict[str, Any] = {
        "outcome": outcome,
        "mechanism": Mechanism.SYN_DROP if blocked else Mechanism.NONE,
        "expected": outcome,
        "observation": seen(Stage.CONNECT, errno="ETIMEDOUT", seconds=1.3) if blocked else seen(),
    }
    if blocked:
        usual["blame"] = rule(family="ip6" if more.get("ip_version") == 6 else "ip")
    return changed(_PLAIN, **usual | more)


def changed(verdict: Verdict, **more: Any) -> Verdict:
    """The verdict with other values; ``more`` as for ``verdict``. What is wrong with it follows from them."""
    about = {model: {name: more.pop(name) for name in set(more) & names} for model, names in _FIELDS.items()}
    if isinstance(user := about["path"].get("auth"), str):
        about["path"]["auth"] = Auth(user=user)
    path = PathSpec.model_validate(verdict.question.path.model_dump() | about["path"])
    if (policies := more.pop("policies", None)) is not None:
        about["question"]["config"] = config(policies)
    renamed = {"by": "expected_by", "how": "expected_how"}
    about["question"] |= {name: more.pop(flat) for name, flat in renamed.items() if flat in more}
    if not about["path"].keys().isdisjoint(("source", "to", "port", "ip_version")):
        ip = f"ipv{path.ip_version}" if path.ip_version else "auto"
        about["question"].setdefault("bare_id", f"S3-{path.source}-to-{path.to}-{path.port}/{ip}")
    question = replace(verdict.question, path=path, **about["question"])
    evidence = Evidence.model_validate(dict(verdict.evidence) | about["evidence"])
    judgement = replace(verdict.judgement, **about["judgement"])
    judgement = replace(judgement, reasons=tuple(_reasons(question, judgement, more)))
    pcap, chance = more.pop("pcap", verdict.pcap), more.pop("chance", verdict.chance)
    assert not more, more
    return Verdict(question, evidence, judgement, pcap, chance)


def config(policies: Mapping[str, Sequence[str]]) -> LabConfig:
    """A lab with these policies, by name."""
    stacks = tuple((node, tuple(map(Path, names))) for node, names in policies.items() if names)
    return LabConfig(Plan(name="residential_isp", file=Path("residential_isp.py"), nodes={}), stacks)


def _reasons(question: Question, judgement: Judgement, more: dict[str, Any]) -> Iterator[Reason]:
    """Those of ``judge``, and what a test says: why the tool failed, a disagreement, or just whether it is ok."""
    found = Classification(judgement.outcome, judgement.mechanism)
    unmet = list(judge.unmet(found, judgement.blame, question.expected, question.by, question.how))
    failure, disagreement, ok = more.pop("reason", None), more.pop("disagreement", None), more.pop("ok", None)
    if ok:
        return
    if failure:
        yield Reason(ReasonKind.TOOL_FAILED, failure)
    if disagreement:
        yield Reason(ReasonKind.DISAGREEMENT, disagreement)
    if not (failure or disagreement or unmet) and (ok is False or judgement.outcome is Outcome.ERROR):
        yield Reason(ReasonKind.UNEXPLAINED, "")
    yield from unmet


_FIELDS = {
    "path": frozenset(PathSpec.model_fields),
    "question": frozenset(field.name for field in fields(Question)) - {"path"},
    "evidence": frozenset(Evidence.model_fields),
    "judgement": frozenset(("outcome", "mechanism", "blame", "control")),
}

_PLAIN = Verdict(
    Question(
        scenario="residential",
        variant="op25b",
        bare_id="S3-home-server-to-mx:example.net-25/ipv4",
        name=None,
        ref="S3",
        path=PathSpec(source="home-server", to="mx:example.net", ip_version=4),
        expected=None,
        by=None,
        config=config({"isp-edge": ["op25b"]}),
        sequential=False,
    ),
    Evidence(observation=seen()),
    Judgement(Outcome.DELIVERED, Mechanism.NONE),
)


def report(*verdicts: Verdict) -> Report:
    """A run's report."""
    return Report(tool={"name": "port25lab", "version": "0"}, environment={"seconds": 1.5}, verdicts=list(verdicts))


FULL = verdict(
    Outcome.DROPPED,
    name="n",
    to="own-server",
    port=587,
    ip_version=6,
    security="starttls",
    auth="alice",
    bad_auth=True,
    client="swaks",
    recipient="r@example.net",
    sender="s@example.net",
    size=900,
    packet="syn-fin",
    spoof="pc",
    policies={"isp-edge": ["op25b", "ip25b"]},
    expected=Outcome.DELIVERED,
    expected_by="isp-edge",
    expected_how=Mechanism.SYN_DROP,
    expected_from=3,
    attempt=2,
    repeat=4,
    answered_by="mx",
    decisions=[decision()],
    diverted=[decision(Effect.DIVERT)],
    icmp=[IcmpError(sender="198.51.100.1", ip_version=4, type=3, code=13)],
    hops=[hop(errno="ETIMEDOUT", decisions=[decision(blame=rule("isp-core"))])],
    arrival=Arrival(packet="syn-fin", reached="mx"),
    ended=Ended(packet=wire()[0], how="no-route"),
    should=Should.BLOCKED,
    matrix=True,
    control=Control(outcome=Outcome.DELIVERED, through=True),
    disagreement="d",
    reason="r",
    retried="t",
    packets=wire(),
    difference=StreamDifference(
        direction="client to server", offset=3, client_side=StreamSide(line="x"), server_side=StreamSide()
    ),
    pcap="x.pcap",
    chance=Chance(outcomes={Outcome.DROPPED: 1, Outcome.DELIVERED: 3}, rules=(rule(),)),
)
"""A verdict with a value in each field."""
