"""Diagnoses in the terms that users know: Postfix's log, "works from the office, not from home".

In: a view and its diagnoses. Out: paragraphs. The first sentence of each is the diagnosis, the next ones say what it
means and what it does not prove. The last paragraph names the ways out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from port25lab.model.evidence import Stage
from port25lab.model.mechanism import MECHANISM_INFO, Mechanism
from port25lab.probe import ambiguous
from port25lab.probe.case import Diagnosis
from port25lab.probe.client_view import ClientView

SILENT = (Mechanism.SYN_DROP, Mechanism.ANSWER_DROP)

WORKING = (Mechanism.NONE,)

Group = Sequence[Diagnosis]
"""Diagnoses that differ in the port and the IP version alone."""


def blocked(diagnosis: Diagnosis) -> bool:
    """Whether anything is wrong on the path, be it in the network or at the server."""
    return diagnosis.mechanism not in WORKING


def counted(view: ClientView, diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
    """The diagnoses that decide the exit code: of port 25 where it was probed, and of the port of the message.

    An IP version that this machine does not have does not count, unless there is no other.
    """
    asked = [diagnosis for diagnosis in diagnoses if diagnosis.port == 25] or list(diagnoses)
    delivery = {one.port for one in view.deliveries}
    asked += [diagnosis for diagnosis in diagnoses if diagnosis.port in delivery and diagnosis not in asked]
    here = [diagnosis for diagnosis in asked if not _lacking(view, diagnosis)]
    return here or asked


def story(view: ClientView, diagnoses: Sequence[Diagnosis]) -> list[str]:
    """Paragraphs: port 25 first, then the other ports on which something is wrong, then the ways out."""
    groups = _groups([diagnosis for diagnosis in diagnoses if _worth_telling(view, diagnosis)])
    paragraphs = [_paragraph(view, group) for group in groups]
    if any(blocked(diagnosis) for diagnosis in counted(view, diagnoses)):
        paragraphs.append(ways_out(view, diagnoses))
    return [paragraph for paragraph in paragraphs if paragraph]


def ways_out(view: ClientView, diagnoses: Sequence[Diagnosis]) -> str:
    """What to do instead, with the ports that work from here first; empty where another port is no help."""
    stopped = {f.mechanism for f in counted(view, diagnoses) if blocked(f)}
    if not stopped & HELPED_BY_ANOTHER_PORT:
        return ""
    open_ports = {
        one.port for one in view.sessions if one.port != 25 and one.stage is Stage.DONE and "AUTH" in one.keywords_tls
    }
    shut = {f.port for f in diagnoses if f.port != 25 and MECHANISM_INFO[f.mechanism].middle} - open_ports
    working = [name for port, name in WAYS.items() if port in open_ports]
    others = [name for port, name in WAYS.items() if port not in shut | open_ports]
    if not shut & {465, 587} and 2525 not in open_ports:
        others = [name for name in others if name != WAYS[2525]]
    ways = []
    if working:
        ways.append(f"{_all(working)}: open from here at {view.target}")
    if others and not working:
        ways.append(f"{_all(others)}, at a mail provider or a relay service (an MX listens on 25 alone)")
    ways.append("the provider's own relay as a smarthost")
    return f"Ways out: {'; '.join(ways)}; or ask the provider to lift the block."


WAYS = {
    587: "port 587 with AUTH",
    465: "port 465 (TLS from the first byte, RFC 8314)",
    2525: "port 2525 with AUTH (relay services have it)",
}

HELPED_BY_ANOTHER_PORT = {
    Mechanism.SYN_DROP,
    Mechanism.ANSWER_DROP,
    Mechanism.REJECT_ICMP,
    Mechanism.REJECT_RESET,
    Mechanism.RATE_LIMIT,
    Mechanism.INTERCEPTION,
    Mechanism.REFUSING_GREETING,
    Mechanism.ACCEPT_CLOSE,
    Mechanism.TARPIT,
    Mechanism.STARTTLS_STRIPPING,
    Mechanism.BANNER_MASKING,
    Mechanism.SNI_RESET,
    Mechanism.DNSBL_LISTING,
}


def _worth_telling(view: ClientView, diagnosis: Diagnosis) -> bool:
    """Whether a diagnosis gets a paragraph: port 25, blocks of other ports, and every port where 25 was not probed.

    Where a server answers on port 25, silence right before it on other ports is its own firewall: no paragraph.
    """
    if diagnosis.port == 25 or diagnosis.port in _delivered(view) or not view.session(25, diagnosis.ip_version):
        return True
    at_the_door = diagnosis.mechanism in SILENT and diagnosis.hop is None
    return MECHANISM_INFO[diagnosis.mechanism].middle and not at_the_door


def _delivered(view: ClientView) -> set[int]:
    return {one.port for one in view.deliveries}


def _lacking(view: ClientView, diagnosis: Diagnosis) -> bool:
    return diagnosis.mechanism is Mechanism.NO_ROUTE and diagnosis.hop == 0


def _groups(diagnoses: Sequence[Diagnosis]) -> list[list[Diagnosis]]:
    """Diagnoses that say the same of several ports or of both IP versions, together. Port 25 comes first."""
    groups: dict[tuple[object, ...], list[Diagnosis]] = {}
    for diagnosis in sorted(diagnoses, key=lambda diagnosis: (diagnosis.port, diagnosis.ip_version)):
        key = (diagnosis.mechanism, diagnosis.alternatives, diagnosis.also, diagnosis.hop, diagnosis.until)
        groups.setdefault(key, []).append(diagnosis)
    return list(groups.values())


def _paragraph(view: ClientView, group: Group) -> str:
    first = group[0]
    ports = [str(port) for port in dict.fromkeys(diagnosis.port for diagnosis in group)]
    versions = [f"IPv{version}" for version in sorted({diagnosis.ip_version for diagnosis in group})]
    tell = _STORIES.get(first.mechanism, _plainly)
    what = f"{'Port' if len(ports) == 1 else 'Ports'} {_all(ports)} over {_all(versions)}"
    sentences = [f"{what}: {first.reason}.", *tell(view, group), *_doubts(first)]
    return " ".join(sentence for sentence in sentences if sentence)


def _all(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def _doubts(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.certain:
        return
    others = " or ".join(diagnosis.alternatives)
    pair = ambiguous.explain(diagnosis.candidates)
    yield f"This may also be {others}: {pair.reason}; {pair.remedy}." if pair else f"This may also be {others}."


def _place(diagnosis: Diagnosis) -> str:
    """Where the block is, and whose equipment is usually there."""
    router = f" ({diagnosis.router})" if diagnosis.router else ""
    if diagnosis.hop == 0:
        return "on this machine or at the entrance of its first router"
    if diagnosis.hop == 1:
        return f"at the first router{router}: at home your own box, in a cloud the platform's edge"
    behind = (
        f", or behind it and before hop {diagnosis.until}" if (diagnosis.until or 0) > (diagnosis.hop or 0) + 1 else ""
    )
    return f"upstream, {diagnosis.hop} hops away{router}{behind}"


def _silent(view: ClientView, group: Group) -> Iterator[str]:
    first = group[0]
    if first.hop is not None and first.mechanism is Mechanism.SYN_DROP:
        clean = "Your host firewall is clean: the block is " if first.hop > 0 else "The block is "
        yield f"{clean}{_place(first)}."
    if first.port == 25:
        yield from _whose(view, first)
        yield "Receiving may work all the same: inbound open says nothing about outbound."
        yield from _log(view)
    yield "If it worked a while ago, it may be a limit on connections that is used up: that looks the same."


def _whose(view: ClientView, diagnosis: Diagnosis) -> Iterator[str]:
    """Whose block it is, as far as a client can tell."""
    control = view.control_session(diagnosis.ip_version)
    if control is not None and control.connected:
        yield (
            f"Port 25 of {control.host} answers, so this network's way out is open: it is {view.target} or its network "
            "that wants nothing from here, as receiving providers do with dynamic addresses."
        )
    elif diagnosis.hop is not None and diagnosis.distance is not None and 2 * diagnosis.hop > diagnosis.distance:
        place = f"hop {diagnosis.hop} of {diagnosis.distance}"
        yield f"That is {place}: `whois {diagnosis.router}` says whose network it is."
    elif diagnosis.hop is not None or control is not None:
        yield (
            "It is this network's way out that is blocked, and not the server: hence mail that works from the office, "
            "not from home."
        )


def _log(view: ClientView) -> Iterator[str]:
    failed = [one for one in view.sessions if one.port == 25 and one.errno == "ETIMEDOUT" and not one.connected]
    for one in sorted(failed, key=lambda session: session.ip_version)[:1]:
        yield (
            f"Postfix would log `connect to {one.host}[{one.address}]:25: Connection timed out` with dsn=4.4.1, "
            "status=deferred: mail waits in the queue for days before it bounces."
        )


def _rejected(view: ClientView, group: Group) -> Iterator[str]:
    first = group[0]
    if first.hop is not None:
        clean = "Your host firewall is clean: the block is " if first.hop > 0 else "The block is "
        yield f"{clean}{_place(first)}."
    if first.mechanism is Mechanism.REJECT_RESET:
        yield "`Connection refused` looks as if the server were down; it has not even seen the connection."
    else:
        yield "`No route to host` and the like come from a rule here, not from a broken route: other ports get through."
    if first.port == 25:
        yield "Receiving may work all the same: inbound open says nothing about outbound."


def _limited(view: ClientView, group: Group) -> Iterator[str]:
    yield "A first connection proves nothing here: a limit lets some pass, and then SYNs vanish."


def _intercepted(view: ClientView, group: Group) -> Iterator[str]:
    first = group[0]
    session = view.session(first.port, first.ip_version)
    banner = session.banner if session else None
    greeting = f" ({' '.join(banner.split())[:60]})" if banner else ""
    where = f", {_place(first)}" if first.hop else ""
    yield (
        f"You are not talking to {view.target}: another mail server takes port {first.port} in its place{where}"
        f"{greeting}. What it does with the mail, and from which address, is its own affair."
    )


def _stand_in(view: ClientView, group: Group) -> Iterator[str]:
    first = group[0]
    if first.hop:
        yield f"It is not {view.target} that does so: a middlebox takes the connection in its place, {_place(first)}."
    yield "A port scanner calls such a port open: that the connection comes about proves nothing."


def _altered(view: ClientView, group: Group) -> Iterator[str]:
    first = group[0]
    where = f", {_place(first)}" if first.hop else ""
    yield f"A firewall inspects SMTP on the way{where} (as a Cisco ASA does with `inspect esmtp`)."
    if first.mechanism is Mechanism.STARTTLS_STRIPPING:
        yield "Mail goes in clear; who insists on TLS sends none."


def _sni(view: ClientView, group: Group) -> Iterator[str]:
    first = group[0]
    where = f" {_place(first)}" if first.hop is not None else " on the way"
    yield f"A filter{where} reads the server's name in the TLS handshake, and resets the session."


def _large(view: ClientView, group: Group) -> Iterator[str]:
    yield (
        "Large packets vanish on the way, and so do the ICMP errors that would say so: small mail gets through, large "
        "mail hangs. Lower the MTU here (to 1400 or 1280), or clamp the MSS at the router."
    )


def _no_listener(view: ClientView, group: Group) -> Iterator[str]:
    if group[0].port == 25:
        yield "That is no block: the server does not take mail on this port."


def _lost(view: ClientView, group: Group) -> Iterator[str]:
    if group[0].hop == 0:
        yield "Nothing is blocked there: the machine has no such connectivity. (`Network is unreachable` in a log.)"


def _plainly(view: ClientView, group: Group) -> Iterator[str]:
    meaning = MECHANISM_INFO[group[0].mechanism]
    if group[0].mechanism not in (*WORKING, Mechanism.UNKNOWN):
        yield f"{meaning.text[0].upper()}{meaning.text[1:]}."


_STORIES: Mapping[Mechanism, Callable[[ClientView, Group], Iterator[str]]] = {
    Mechanism.SYN_DROP: _silent,
    Mechanism.ANSWER_DROP: _silent,
    Mechanism.REJECT_ICMP: _rejected,
    Mechanism.REJECT_RESET: _rejected,
    Mechanism.RATE_LIMIT: _limited,
    Mechanism.INTERCEPTION: _intercepted,
    Mechanism.REFUSING_GREETING: _stand_in,
    Mechanism.ACCEPT_CLOSE: _stand_in,
    Mechanism.TARPIT: _stand_in,
    Mechanism.STARTTLS_STRIPPING: _altered,
    Mechanism.BANNER_MASKING: _altered,
    Mechanism.SNI_RESET: _sni,
    Mechanism.MTU_BLACK_HOLE: _large,
    Mechanism.NO_LISTENER: _no_listener,
    Mechanism.NO_ROUTE: _lost,
}
