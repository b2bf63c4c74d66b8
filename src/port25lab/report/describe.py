"""The parts of a verdict in words: path, rule, reply, packet, relay."""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import (
    Arrival,
    Blame,
    Decision,
    Effect,
    Hop,
    IcmpError,
    Observation,
    PacketSeen,
    Stage,
    TrailRule,
)
from port25lab.model.outcome import PASSING, Outcome
from port25lab.model.packet_kinds import kind_of
from port25lab.model.path import DEFAULT_CLIENT, MX_PREFIX, PathSpec, Security
from port25lab.model.verdict import Chance, Verdict
from port25lab.report.text import PLAIN, Glyphs, bracketed, duration, quoted_text, shortened, visible
from port25lab.verdict.views import failed_tries

MOST_PACKETS = 8
"""How many packets are printed of a failure; JSON has them all."""


def lab_name(verdict: Verdict) -> str:
    """Scenario and variant: ``residential/op25b``."""
    return visible(f"{verdict.question.scenario}/{verdict.question.variant}")


def repeat_command(verdict: Verdict) -> str:
    """The command that runs this path alone again, ready to be pasted into a shell."""
    return visible(f"port25lab run {shlex.quote(verdict.question.scenario)} -k {quoted_text(verdict.id)}")


def path_words(verdict: Verdict, glyphs: Glyphs = PLAIN) -> str:
    """The whole question: ``home-server -> MX of example.net:25, STARTTLS, auth alice, IPv4``."""
    ip_version = verdict.question.path.ip_version
    version = f"IPv{ip_version}" if ip_version else "IPv4 or IPv6"
    parts = (ends_words(verdict, glyphs), options_words(verdict), version, attempt_words(verdict))
    return ", ".join(part for part in parts if part)


def ends(path: PathSpec) -> tuple[str, str, str]:
    """The sender, ``MX of`` where the DNS names the destination, and the destination with its port."""
    mx, to = "", path.to
    if to.startswith(MX_PREFIX):
        mx, to = "MX of", to.removeprefix(MX_PREFIX)
    elif ":" in to:
        to = f"[{to}]"
    ported = path.packet is None or kind_of(path.packet).ported
    return visible(path.source), mx, visible(f"{to}:{path.port}" if ported else to)


def ends_words(verdict: Verdict, glyphs: Glyphs = PLAIN) -> str:
    """From where to where: ``home-server -> MX of example.net:25``."""
    source, mx, to = ends(verdict.question.path)
    return " ".join(part for part in (source, glyphs.arrow, mx, to) if part)


def same_question(verdict: Verdict) -> tuple[object, ...]:
    """A key that is equal for verdicts on the same path in other variants, over another IP version, or tried again."""
    question = verdict.question
    path = question.path.model_copy(update={"ip_version": None, "attempt": 1})
    return question.scenario, question.ref, question.name, path


_SECURITY = {Security.NONE: "", Security.STARTTLS: "STARTTLS", Security.IMPLICIT: "TLS"}


def options_words(verdict: Verdict) -> str:
    """What differs from a plain session of the default client: ``STARTTLS, auth alice, swaks``."""
    path = verdict.question.path
    auth = "wrong auth" if verdict.question.bad_auth else "auth"
    parts = (
        _SECURITY[path.security],
        f"{auth} {path.auth.user}" if path.auth else "",
        f"{path.size} bytes" if path.size else "",
        path.client if path.client != DEFAULT_CLIENT else "",
        f"packet {path.packet}" if path.packet else "",
        f"as {path.spoof}" if path.spoof else "",
    )
    return visible(", ".join(part for part in parts if part))


def attempt_words(verdict: Verdict) -> str:
    """``attempt 4 of 5``; empty for a path that is tried once."""
    repeat = verdict.question.repeat
    return f"attempt {verdict.question.path.attempt} of {repeat}" if repeat > 1 else ""


def turn_words(series: Sequence[Verdict]) -> str:
    """Which attempt was the first to fail, or to get through. ``series``: the verdicts on one repeated path."""
    ordered = sorted(series, key=lambda verdict: verdict.question.path.attempt)
    first, good = ordered[0], (Outcome.DELIVERED, Outcome.REACHED)
    starts_well = first.question.path.attempt > 1 or first.outcome in good
    if first.chance is not None:
        return f"attempts differ: {chance_words(first.chance)}"
    turned = next((verdict for verdict in ordered if (verdict.outcome in good) is not starts_well), None)
    if turned is not None:
        what = f"the first to fail, {turned.outcome.value}" if starts_well else "the first to get through"
        return f"{attempt_words(turned)} is {what}"
    if starts_well:
        return f"none of {first.question.repeat} attempts fails"
    return f"{attempt_words(first)} is the first to fail, {first.outcome.value}, and none gets through"


def chance_words(chance: Chance) -> str:
    """``5 of 6 delivered, 1 dropped, by chance (isp-edge FORWARD #1)``."""
    (first, times), *others = sorted(chance.outcomes.items(), key=lambda item: item[0] not in PASSING)
    ends = ", ".join([f"{times} of {chance.attempts} {first.value}", *(f"{n} {one.value}" for one, n in others)])
    labels = ", ".join(rule_label(rule) for rule in chance.rules)
    return f"{ends}, by chance" + (f" ({labels})" if labels else "")


def versions_words(versions: Iterable[IpVersion | None]) -> str:
    """``v4 v6``, ``v6``, or ``auto`` where the client picks the version."""
    return " ".join(sorted({f"v{version}" if version else "auto" for version in versions}))


def asked_versions(verdicts: Iterable[Verdict]) -> str:
    """The IP versions of these verdicts: ``v4 v6``."""
    return versions_words(verdict.question.path.ip_version for verdict in verdicts)


def policies_words(policies: Mapping[str, Sequence[str]]) -> str:
    """``op25b + ip25b on isp-edge``; empty where no policy is loaded."""
    return visible(", ".join(f"{' + '.join(names)} on {node}" for node, names in policies.items() if names))


def client_saw(observation: Observation) -> str:
    """The client's error or reply code in one or two short words: ``ETIMEDOUT``, ``530 5.7.0``."""
    codes = [str(observation.smtp_code or ""), visible(observation.enhanced_code or "")]
    return observation.errno or " ".join(code for code in codes if code) or f"at {observation.stage.value}"


def saw(verdict: Verdict) -> str:
    """What came back to the client, or to the sender of a hand-made packet, in one or two short words."""
    arrival = verdict.evidence.arrival
    return (arrival.answer or "") if arrival else client_saw(verdict.observation)


def arrival_words(arrival: Arrival) -> str:
    """``arrived at mx, answered by SYN-ACK``."""
    arrived = f"arrived at {arrival.reached}" if arrival.reached else "did not arrive"
    return visible(f"{arrived}, answered by {arrival.answer}" if arrival.answer else f"{arrived}, no answer")


_STAGES = {
    Stage.RESOLVE: "resolve the name",
    Stage.CONNECT: "connect to",
    Stage.TLS: "TLS handshake with",
    Stage.BANNER: "greeting of",
    Stage.EHLO: "EHLO to",
    Stage.STARTTLS: "STARTTLS to",
    Stage.AUTH: "AUTH to",
    Stage.MAIL: "MAIL FROM to",
    Stage.RCPT: "RCPT TO to",
    Stage.DATA: "DATA to",
    Stage.DONE: "message to",
}


def client_words(observation: Observation) -> str:
    """The client's last action, its peer, and the result: ``connect to 203.0.113.25: ETIMEDOUT (…) after 2.1 s``."""
    did = _STAGES[observation.stage]
    if observation.stage is not Stage.RESOLVE:
        did = f"{did} {visible(observation.address or 'the server')}"
    when = "proven after" if observation.proven_early else "after"
    return f"{did}: {_client_got(observation)} {when} {duration(observation.seconds)}"


def saw_something(verdict: Verdict) -> bool:
    """False where the tool failed before the client saw anything."""
    seen, decisions = verdict.observation, verdict.evidence.decisions
    return verdict.outcome is not Outcome.ERROR or bool(seen.errno or seen.smtp_code or seen.reply or decisions)


def _client_got(observation: Observation) -> str:
    reply = shortened(visible(observation.reply or ""))
    if observation.errno:
        text = os.strerror(getattr(errno, observation.errno)) if hasattr(errno, observation.errno) else ""
        said = f' "{reply}"' if reply and reply.casefold() != text.casefold() else ""
        return visible(observation.errno) + (f" ({text})" if text else "") + said
    words = reply_words(observation)
    return f'"{shortened(words)}"' if words else "no reply"


def reply_words(observation: Observation) -> str:
    """The reply with its codes in front, each of them once: ``550 5.7.1 relaying denied``."""
    text = visible(observation.reply or "")
    for code in (visible(observation.enhanced_code or ""), str(observation.smtp_code or "")):
        if code and not re.search(rf"(?<![\w.]){re.escape(code)}(?![\w.])", text):
            text = f"{code} {text}".rstrip()
    return text


def reply_text(observation: Observation) -> str:
    """The reply without its codes, for tables that have the codes in a column."""
    codes = [re.escape(code) for code in (str(observation.smtp_code or ""), observation.enhanced_code or "") if code]
    return (
        re.sub(rf"^(?:(?:{'|'.join(codes)})[ -]+)+", "", visible(observation.reply or ""))
        if codes
        else visible(observation.reply or "")
    )


_ICMP_NAMES: dict[tuple[int, int, int], str] = {
    (4, 3, 0): "net unreachable",
    (4, 3, 1): "host unreachable",
    (4, 3, 2): "protocol unreachable",
    (4, 3, 3): "port unreachable",
    (4, 3, 4): "fragmentation needed",
    (4, 3, 9): "net administratively prohibited",
    (4, 3, 10): "host administratively prohibited",
    (4, 3, 13): "communication administratively prohibited",
    (4, 11, 0): "TTL exceeded",
    (6, 1, 0): "no route",
    (6, 1, 1): "administratively prohibited",
    (6, 1, 3): "address unreachable",
    (6, 1, 4): "port unreachable",
    (6, 1, 5): "source address failed policy",
    (6, 1, 6): "reject route",
    (6, 2, 0): "packet too big",
    (6, 3, 0): "hop limit exceeded",
}
"""IP version, type and code: RFC 792, RFC 1812 5.2.7.1; RFC 4443 3."""


def icmp_words(error: IcmpError) -> str:
    """``type 3 code 13 from 198.51.100.1: communication administratively prohibited``."""
    kind = "ICMPv6 " if error.ip_version == 6 else ""
    name = _ICMP_NAMES.get((error.ip_version, error.type, error.code))
    return visible(f"{kind}type {error.type} code {error.code} from {error.sender}") + (f": {name}" if name else "")


def packets_words(packets: Sequence[PacketSeen]) -> str:
    """The packets that opened or refused the connection, one a line: when, what, where first and last seen."""
    telling = [seen for seen in packets if seen.kind != "FIN"] or list(packets)
    lines = [packet_words(seen) for seen in telling[:MOST_PACKETS]]
    more = len(telling) - len(lines)
    return "\n".join([*lines, *([f"... and {more} more"] if more else [])])


def packet_words(seen: PacketSeen) -> str:
    """``+1.000 s  home-server/eth0 sent SYN 192.168.1.25:20000 > 192.0.2.25:25, TTL 64, again``."""
    ends = " > ".join(
        address if port is None else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        for address, port in ((seen.source, seen.source_port), (seen.destination, seen.destination_port))
    )
    kind = seen.kind if seen.icmp is None else f"{seen.kind} type {seen.icmp[0]} code {seen.icmp[1]}"
    did = "sent" if seen.leaving else "got"
    again = ", again" if seen.retransmission else ""
    return visible(f"+{seen.seconds:.4f} s {seen.at} {did} {kind} {ends}, TTL {seen.ttl}{again}")


def failing_hop(verdict: Verdict) -> Hop | None:
    """The relay's last failing try, where its message did not get through."""
    tries = failed_tries(verdict.evidence.hops)
    return tries[-1] if tries and verdict.outcome is not Outcome.DELIVERED else None


def hop_words(hop: Hop, glyphs: Glyphs = PLAIN) -> str:
    """Why a relay failed: ``isp-relay -> mx.example.net: ETIMEDOUT …; isp-edge op25b FORWARD #3``."""
    blame = "".join(f"; {rule_label(decision.blame)}" for decision in hop.decisions[-1:])
    return f"{visible(f'{hop.node} {glyphs.arrow} {hop.to}')}: {client_words(hop.observation)}{blame}"


def rule_label(blame: Blame, numbers: Sequence[int | None] = (), *, with_policy: bool = True) -> str:
    """A rule's label: ``isp-edge op25b FORWARD #3``.

    ``numbers``: of equal rules of both families; empty: the rule's own. ``with_policy``: whether to name its policy.
    """
    chain = blame.chain if blame.table == "filter" else f"{blame.table} {blame.chain}"
    count = "/".join(dict.fromkeys("policy" if n is None else f"#{n}" for n in numbers or (blame.rule_number,)))
    policy = blame.policy if with_policy else None
    return visible(" ".join(part for part in (blame.node, policy, chain, count) if part))


def place(blame: Blame) -> str:
    """File and line, relative to the current folder where it lies below it; empty if unknown."""
    if blame.file is None:
        return ""
    file = Path(blame.file)
    here = Path.cwd()
    if file.is_absolute() and file.is_relative_to(here):
        file = file.relative_to(here)
    return visible(f"{file}:{blame.line}" if blame.line else str(file))


def short_place(blame: Blame) -> str:
    """Folder, file and line alone: ``op25b/rules.v4:14``."""
    if blame.file is None:
        return ""
    name = "/".join(Path(blame.file).parts[-2:])
    return visible(f"{name}:{blame.line}" if blame.line else name)


_EFFECTS = {
    Effect.DROP: "dropped",
    Effect.REJECT_ICMP: "rejected with an ICMP error",
    Effect.REJECT_RESET: "rejected with RST",
    Effect.THROTTLE: "over the limit",
    Effect.DIVERT: "diverted",
    Effect.CHANGE: "changed",
}


def rules(verdict: Verdict) -> str:
    """The blamed rule, and every other rule that matched."""
    matched = [*verdict.evidence.diverted, *verdict.evidence.decisions]
    if verdict.blame is None and not matched:
        return "no rule dropped it"
    lines = [] if verdict.blame is None else _rule_lines(verdict.blame)
    printed = {verdict.blame} if verdict.blame else set()
    for decision in matched:
        if decision.blame not in printed:
            printed.add(decision.blame)
            lines += _rule_lines(decision.blame)
        lines.append(_packet_line(decision))
    return "\n".join(dict.fromkeys(lines))


def _rule_lines(blame: Blame) -> list[str]:
    label = " ".join(part for part in (rule_label(blame), bracketed(place(blame))) if part)
    return [line for line in (visible(blame.rule), label, trail_words(blame)) if line]


def trail_words(blame: Blame, glyphs: Glyphs = PLAIN) -> str:
    """The rules that led to a decision, the deciding one last: ``via FORWARD #3 -> mail #2``. Empty for one."""
    if len(blame.trail) < 2:
        return ""
    return visible("via " + f" {glyphs.arrow} ".join(_label_on_node(rule) for rule in blame.trail))


def _label_on_node(rule: TrailRule) -> str:
    chain = rule.chain if rule.table == "filter" else f"{rule.table} {rule.chain}"
    return f"{chain} {'policy' if rule.rule_number is None else f'#{rule.rule_number}'}"


def _packet_line(decision: Decision) -> str:
    return f"{visible(decision.packet)} {_EFFECTS[decision.effect]}"
