"""A verdict in words. In: a verdict. Out: plain text that a terminal, a log and an XML file can carry unharmed.

Replies come from servers that may be hostile, so all text from outside goes through ``visible``.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from port25lab.classifier.views import failed_tries
from port25lab.evidence import Arrival, Blame, Decision, Effect, Hop, IcmpError, Observation, PacketSeen, Stage
from port25lab.mailpath import MX_PREFIX, Security
from port25lab.mechanism import MEANINGS as MECHANISMS
from port25lab.mechanism import Mechanism
from port25lab.outcome import DECIDED_BY_RULES, MEANINGS, Outcome
from port25lab.rawpackets import KINDS
from port25lab.verdict import Control, Verdict

IpVersion = Literal[4, 6] | None

LONGEST_REPLY = 300
"""A reply in a failure's text is cut after so many characters; RFC 5321 4.5.3.1.5 allows 512 for a line."""

LONGEST_REASON = 2000
"""The same for why the tool failed, which may quote what a program said."""

MOST_PACKETS = 8
"""So many packets are told of a failure; JSON has them all."""


@dataclass(frozen=True)
class Glyphs:
    """The few signs that differ between a terminal and a pipe."""

    good: str
    bad: str
    neutral: str
    arrow: str
    between: str
    """Between the parts of a line."""
    through: str
    """Between the ends of a range."""


PLAIN = Glyphs(good="ok", bad="FAIL", neutral="-", arrow="->", between="|", through="-")
"""For pipes, logs and files: ASCII alone."""

PRETTY = Glyphs(good="✓", bad="✗", neutral="·", arrow="→", between="·", through="–")
"""For terminals that speak UTF-8."""


def explain(verdict: Verdict, repeat: str | None = None) -> str:
    """All that is known of one verdict, as indented plain text: for a failing test, a JUnit failure, a log.

    ``repeat``: the command that repeats it, where that is not ``port25lab run``.
    """
    known = dict(facts(verdict)) | ({"repeat": visible(repeat)} if repeat else {})
    rows = [(key, line) for key, text in known.items() for key, line in _hanging(key, text)]
    return "\n".join([title(verdict), *(f"  {key:<9} {line}" for key, line in rows)])


def title(verdict: Verdict) -> str:
    """The verdict in one line: ``S3 in residential/op25b: expected dropped, found delivered``."""
    which = ", ".join(part for part in (visible(verdict.ref or verdict.name or "path"), attempt_words(verdict)) if part)
    return f"{which} in {lab_name(verdict)}: {mismatch(verdict)}"


def lab_name(verdict: Verdict) -> str:
    """Scenario and variant: ``residential/op25b``."""
    return visible("/".join(part for part in (verdict.scenario, verdict.variant) if part))


def mismatch(verdict: Verdict) -> str:
    """What was expected beside what was found, in one short line."""
    found = verdict.outcome.value
    if verdict.outcome is Outcome.ERROR:
        return "error, port25lab could not tell"
    if verdict.expected is None:
        return f"{found}, nothing expected"
    if verdict.expected is not verdict.outcome:
        return f"expected {verdict.expected.value}, found {found}"
    if verdict.ok:
        return f"{found}, as expected"
    if wrong_node(verdict):
        return visible(f"{found}, expected at {verdict.expected_by}")
    if how := missed_mechanism(verdict):
        return f"{found} by {verdict.mechanism.value}, expected by {how.value}"
    return f"{found} as expected, but not proven"


def wrong_node(verdict: Verdict) -> bool:
    """True where the path ended as expected, and another node than the expected one is to blame for it."""
    blamed = verdict.blame.node if verdict.blame else None
    right = verdict.outcome is verdict.expected and verdict.outcome in DECIDED_BY_RULES
    return right and verdict.expected_by not in (None, blamed)


def missed_mechanism(verdict: Verdict) -> Mechanism | None:
    """The mechanism that was expected, where the path ended as expected and another one is at work."""
    met = verdict.outcome is not verdict.expected or verdict.expected_how is verdict.mechanism
    return None if met else verdict.expected_how


def facts(verdict: Verdict, glyphs: Glyphs = PLAIN) -> list[tuple[str, str]]:
    """Key and text of each thing worth saying, in reading order; a text of many lines has newlines."""
    lines = [
        ("path", "\n".join(filter(None, (path_words(verdict, glyphs), visible(verdict.name or ""))))),
        ("policy", policies_words(verdict.policies) or "none"),
        ("expected", _expected(verdict)),
        ("found", f"{verdict.outcome.value}: {MEANINGS[verdict.outcome].text}"),
        ("how", mechanism_words(verdict)),
        ("client", client_words(verdict.observation) if saw_something(verdict) and not verdict.packet else ""),
        ("packet", arrival_words(verdict.arrival) if verdict.arrival else ""),
        ("icmp", "\n".join(icmp_words(error) for error in _distinct(verdict.icmp))),
        ("relay", _tries(verdict.hops, glyphs)),
        ("rule", _rules(verdict) if saw_something(verdict) else ""),
        ("differ", visible(verdict.disagreement or "")),
        ("control", _control(verdict.control)),
        ("why", shortened(visible(_untold(verdict)), LONGEST_REASON)),
        ("packets", packets_words(verdict.packets)),
        ("altered", visible(verdict.divergence or "")),
        ("pcap", visible(verdict.pcap or "")),
        ("repeat", repeat_command(verdict)),
    ]
    return [(key, text) for key, text in lines if text]


def mechanism_words(verdict: Verdict) -> str:
    """What is at work, and at which node where another one answered: ``tarpit: … (isp-edge answers)``."""
    mechanism = verdict.mechanism
    if verdict.outcome is Outcome.ERROR or (mechanism is Mechanism.NONE and verdict.expected_how in (None, mechanism)):
        return ""
    who = f" ({verdict.answered_by} answers)" if verdict.outcome is Outcome.INTERCEPTED and verdict.answered_by else ""
    return visible(f"{mechanism.value}: {MECHANISMS[mechanism].text}{who}")


def repeat_command(verdict: Verdict) -> str:
    """The command that runs just this path again, ready to be pasted into a shell."""
    return visible(f"port25lab run {shlex.quote(verdict.scenario)} -k {_quoted(verdict.path)}")


def visible(text: str) -> str:
    r"""One line that shows everything and does nothing: ``ESC`` becomes ``\x1b``, a line end becomes `` / ``.

    Escapes what Unicode does not call printable: control and direction characters, lone surrogates, unassigned ones.
    """
    line = " / ".join(re.split(r"\r\n|\n", text.strip("\r\n")))
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


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
    kind = KINDS.get(verdict.packet or "")
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


def versions_words(versions: Iterable[IpVersion]) -> str:
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


def shortened(text: str, longest: int = LONGEST_REPLY) -> str:
    """The text, or its beginning and how long it is."""
    return text if len(text) <= longest else f"{text[:longest].rstrip()}... ({len(text)} characters)"


def duration(seconds: float) -> str:
    """``41 ms`` or ``2.1 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


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


def _rules(verdict: Verdict) -> str:
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
    return [visible(blame.rule), " ".join(part for part in (rule_label(blame), _bracketed(place(blame))) if part)]


def _packet_line(decision: Decision) -> str:
    return f"{visible(decision.packet)} {_EFFECTS[decision.effect]}"


def _expected(verdict: Verdict) -> str:
    if verdict.expected is None:
        return ""
    by = f", by {visible(verdict.expected_by)}" if verdict.expected_by else ""
    by += f", how: {verdict.expected_how.value}" if verdict.expected_how else ""
    if verdict.expected_from is None:
        return verdict.expected.value + by
    turned = verdict.attempt >= verdict.expected_from
    when = f"from attempt {verdict.expected_from} on" if turned else f"before attempt {verdict.expected_from}"
    return f"{verdict.expected.value}{by}, {when}"


def _control(control: Control | None) -> str:
    if control is None:
        return ""
    passed = "gets through" if control.through else "does not get through either"
    return f"without the policy the same path {passed} ({control.outcome.value})"


def _quoted(text: str) -> str:
    """Always in quotes, so that an id looks the same in every command."""
    quoted = shlex.quote(text)
    return quoted if quoted.startswith("'") else f"'{quoted}'"


def _bracketed(text: str) -> str:
    return f"({text})" if text else ""


def _distinct(errors: Iterable[IcmpError]) -> list[IcmpError]:
    return list({icmp_words(error): error for error in errors}.values())


def _tries(hops: Iterable[Hop], glyphs: Glyphs) -> str:
    """What each relay met, its last try for all that failed alike."""
    alike: dict[object, list[Hop]] = {}
    for hop in failed_tries(hops):
        alike.setdefault((hop.node, hop.to, hop.observation.address, client_saw(hop.observation)), []).append(hop)
    return "\n".join(
        hop_words(tries[-1], glyphs) + (f" ({len(tries)} tries)" if len(tries) > 1 else "") for tries in alike.values()
    )


def _untold(verdict: Verdict) -> str:
    """The reason, without those of its parts that stand elsewhere in the text."""
    told = {verdict.disagreement, mismatch(verdict)}
    return "; ".join(part for part in (verdict.reason or "").split("; ") if part not in told)


def _hanging(key: str, text: str) -> list[tuple[str, str]]:
    return [(key if number == 0 else "", line) for number, line in enumerate(text.split("\n"))]
