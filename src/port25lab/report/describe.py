"""The parts of a verdict in words: path, rule, reply, packet, relay."""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import Arrival, Blame, Decision, Effect, Hop, IcmpError, Observation, PacketSeen, Stage
from port25lab.model.outcome import Outcome
from port25lab.model.packet_kinds import PACKET_KINDS
from port25lab.model.path import MX_PREFIX, Security
from port25lab.model.verdict import Verdict
from port25lab.report.text import PLAIN, Glyphs, bracketed, duration, quoted_text, shortened, visible
from port25lab.verdict.views import failed_tries

MOST_PACKETS = 8
"""So many packets are told of a failure; JSON has them all."""


def lab_name(verdict: Verdict) -> str:
    """Scenario and variant: ``residential/op25b``."""
    return visible("/".join(part for part in (verdict.scenario, verdict.variant) if part))


def repeat_command(verdict: Verdict) -> str:
    """The command that runs just this path again, ready to be pasted into a shell."""
    return visible(f"port25lab run {shlex.quote(verdict.scenario)} -k {quoted_text(verdict.path)}")


def path_words(verdict: Verdict, glyphs: Glyphs = PLAIN) -> str:
    """The whole question: ``home-server -> MX of example.net:25, STARTTLS, auth alice, IPv4``."""
    version = f"IPv{verdict.ip_version}" if verdict.ip_version else "IPv4 or IPv6"
    parts = (ends_words(verdict, glyphs), manner_words(verdict), version, attempt_words(verdict))
    return ", ".join(part for part in parts if part)


def ends_words(verdict: Verdict, glyphs: Glyphs = PLAIN) -> str:
    """From where to where: ``home-server -> MX of example.net:25``."""
    to = verdict.to
    if to.startswith(MX_PREFIX):
        to = f"MX of {to.removeprefix(MX_PREFIX)}"
    elif ":" in to:
        to = f"[{to}]"
    kind = PACKET_KINDS.get(verdict.packet or "")
    ported = kind is None or kind.ported
    return visible(f"{verdict.source} {glyphs.arrow} {to}" + (f":{verdict.port}" if ported else ""))


def bare_id(verdict: Verdict) -> str:
    """The path's id within its scenario and variant: ``S3-home-server-to-mx:example.net-25/ipv4``."""
    return verdict.path.removeprefix(f"{verdict.scenario}/").removeprefix(
        f"{verdict.variant}/" if verdict.variant else ""
    )


def question(verdict: Verdict) -> tuple[str, ...]:
    """What two verdicts have in common that ask the same: of different variants, over both IP versions, or again."""
    bare = re.sub(r"/(ipv4|ipv6|auto)(/\d+)?$", "", bare_id(verdict))
    return (verdict.scenario, bare, verdict.name or "", ends_words(verdict), manner_words(verdict))


_SECURITY = {Security.STARTTLS.value: "STARTTLS", Security.IMPLICIT.value: "TLS"}


def manner_words(verdict: Verdict) -> str:
    """How the client goes about it, where that is worth a word: ``STARTTLS, auth alice, swaks``."""
    how = "wrong auth" if re.search(r"-badauth(?=[-/]|$)", verdict.path) else "auth"
    parts = (
        _SECURITY.get(verdict.security, ""),
        f"{how} {verdict.auth}" if verdict.auth else "",
        f"{size[1]} bytes" if (size := re.search(r"-(\d+)B(?=[-/]|$)", verdict.path)) else "",
        verdict.client if verdict.client != "aiosmtplib" else "",
        f"packet {verdict.packet}" if verdict.packet else "",
        f"as {verdict.spoof}" if verdict.spoof else "",
    )
    return visible(", ".join(part for part in parts if part))


def attempt_words(verdict: Verdict) -> str:
    """``attempt 4 of 5``; empty for a path that is tried once."""
    return f"attempt {verdict.attempt} of {verdict.repeat}" if verdict.repeat > 1 else ""


def turn_words(series: Sequence[Verdict]) -> str:
    """Which attempt of a repeated path was the first to fail, or to get through: for the attempts of one path."""
    ordered = sorted(series, key=lambda verdict: verdict.attempt)
    first, good = ordered[0], (Outcome.DELIVERED, Outcome.REACHED)
    starts_well = first.attempt > 1 or first.outcome in good
    turned = next((verdict for verdict in ordered if (verdict.outcome in good) is not starts_well), None)
    if turned is not None:
        what = f"the first to fail, {turned.outcome.value}" if starts_well else "the first to get through"
        return f"{attempt_words(turned)} is {what}"
    if starts_well:
        return f"none of {first.repeat} attempts fails"
    return f"{attempt_words(first)} is the first to fail, {first.outcome.value}, and none gets through"


def versions_words(versions: Iterable[IpVersion | None]) -> str:
    """``v4 v6``, ``v6``, or ``auto`` for a client that picks for itself."""
    return " ".join(sorted({f"v{version}" if version else "auto" for version in versions}))


def policies_words(policies: dict[str, list[str]]) -> str:
    """``op25b + ip25b on isp-edge``; empty where no policy is loaded."""
    return visible(", ".join(f"{' + '.join(names)} on {node}" for node, names in policies.items() if names))


def client_saw(observation: Observation) -> str:
    """The client's error or reply code in one or two short words: ``ETIMEDOUT``, ``530 5.7.0``."""
    codes = [str(observation.smtp_code or ""), visible(observation.enhanced_code or "")]
    return observation.errno or " ".join(code for code in codes if code) or f"at {observation.stage.value}"


def saw(verdict: Verdict) -> str:
    """What came back to the sender, be it a client or a probe, in one or two short words."""
    return (verdict.arrival.answer or "") if verdict.arrival else client_saw(verdict.observation)


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
    """What the client did last, with whom, what came of it: ``connect to 203.0.113.25: ETIMEDOUT (…) after 2.1 s``."""
    did = _STAGES[observation.stage]
    if observation.stage is not Stage.RESOLVE:
        did = f"{did} {visible(observation.address or 'the server')}"
    return f"{did}: {_client_got(observation)} after {duration(observation.seconds)}"


def saw_something(verdict: Verdict) -> bool:
    """False where the tool failed before the client got anywhere."""
    seen = verdict.observation
    return verdict.outcome is not Outcome.ERROR or bool(seen.errno or seen.smtp_code or seen.reply or verdict.decisions)


def _client_got(observation: Observation) -> str:
    reply = shortened(visible(observation.reply or ""))
    if observation.errno:
        text = os.strerror(getattr(errno, observation.errno)) if hasattr(errno, observation.errno) else ""
        said = f' "{reply}"' if reply and reply.casefold() != text.casefold() else ""
        return visible(observation.errno) + (f" ({text})" if text else "") + said
    words = reply_words(observation)
    return f'"{shortened(words)}"' if words else "no reply"


def reply_words(observation: Observation) -> str:
    """The reply with its codes in front, each said once: ``550 5.7.1 relaying denied``."""
    text = visible(observation.reply or "")
    for code in (visible(observation.enhanced_code or ""), str(observation.smtp_code or "")):
        if code and not re.search(rf"(?<![\w.]){re.escape(code)}(?![\w.])", text):
            text = f"{code} {text}".rstrip()
    return text


def reply_text(observation: Observation) -> str:
    """The reply without its codes, for where they stand beside it."""
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
    tries = failed_tries(verdict.hops)
    return tries[-1] if tries and verdict.outcome is not Outcome.DELIVERED else None


def hop_words(hop: Hop, glyphs: Glyphs = PLAIN) -> str:
    """What a relay met: ``isp-relay -> mx.example.net: ETIMEDOUT …; isp-edge op25b FORWARD #3``."""
    blame = "".join(f"; {rule_label(decision.blame)}" for decision in hop.decisions[-1:])
    return f"{visible(f'{hop.node} {glyphs.arrow} {hop.to}')}: {client_words(hop.observation)}{blame}"


def rule_label(blame: Blame, numbers: Sequence[int | None] = (), *, with_policy: bool = True) -> str:
    """Where a rule stands: ``isp-edge op25b FORWARD #3``. Several numbers: one rule for each family."""
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
}


def rules(verdict: Verdict) -> str:
    """The rule that is blamed, and every other that was met."""
    met = [*verdict.diverted, *verdict.decisions]
    if verdict.blame is None and not met:
        return "no rule dropped it"
    lines = [] if verdict.blame is None else _rule_lines(verdict.blame)
    told = {verdict.blame} if verdict.blame else set()
    for decision in met:
        if decision.blame not in told:
            told.add(decision.blame)
            lines += _rule_lines(decision.blame)
        lines.append(_packet_line(decision))
    return "\n".join(dict.fromkeys(lines))


def _rule_lines(blame: Blame) -> list[str]:
    return [visible(blame.rule), " ".join(part for part in (rule_label(blame), bracketed(place(blame))) if part)]


def _packet_line(decision: Decision) -> str:
    return f"{visible(decision.packet)} {_EFFECTS[decision.effect]}"
