"""What a diagnosis means, in terms that users know: Postfix's log, "works from the office, not from home"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from port25lab.model.mechanism import MECHANISM_INFO, Mechanism
from port25lab.probe.case import Diagnosis
from port25lab.probe.client_view import ClientView
from port25lab.probe.counted import WORKING, is_lacking
from port25lab.probe.places import Place

Group = Sequence[Diagnosis]
"""Diagnoses that differ in the port and the IP version alone."""

_OF_THIS_SIDE = (Place.OWN_MACHINE, Place.OWN_ROUTER, Place.ACCESS_NETWORK, Place.PLATFORM)


def meaning(view: ClientView, group: Group) -> Iterator[str]:
    """Sentences: what it means, and what it does not prove."""
    first = group[0]
    if is_lacking(first):
        yield "Nothing is blocked there: the machine has no such connectivity. (`Network is unreachable` in a log.)"
        return
    yield from _MEANINGS.get(first.mechanism, _plainly)(view, group)


def _silent(view: ClientView, group: Group) -> Iterator[str]:
    first = group[0]
    if first.port == 25:
        yield from _whose(view, first)
        yield from _log(view)
    if Mechanism.NO_ANSWER not in first.candidates:
        yield "If it worked a while ago, it may be a limit on connections that is used up: that looks the same."


def _whose(view: ClientView, diagnosis: Diagnosis) -> Iterator[str]:
    control = view.control_session(diagnosis.ip_version)
    if control is not None and control.connected and diagnosis.place in (Place.BEFORE_THE_SERVER, Place.SERVER):
        yield f"Port 25 of {control.host} answers, so this network's way out is open."
    elif diagnosis.place in _OF_THIS_SIDE and not set(diagnosis.places) - set(_OF_THIS_SIDE):
        yield (
            "It is this side's way out that is blocked, and not the server: hence mail that works from elsewhere. "
            "Receiving may work all the same: inbound open says nothing about outbound."
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
    if first.mechanism is Mechanism.REJECT_RESET:
        yield "`Connection refused` looks as if the server were down; it has not even seen the connection."
    else:
        yield "`No route to host` and the like come from a rule here, not from a broken route: other ports get through."
    if first.port == 25:
        yield from _whose(view, first)


def _limited(view: ClientView, group: Group) -> Iterator[str]:
    yield "A first connection proves nothing here: a limit lets some pass, and then SYNs vanish."


def _intercepted(view: ClientView, group: Group) -> Iterator[str]:
    first = group[0]
    session = view.session(first.port, first.ip_version)
    banner = " ".join((session.banner if session else None or "").split())[:60] if session and session.banner else ""
    greeting = f" ({banner})" if banner else ""
    yield (
        f"You are not talking to {view.target}: another mail server takes port {first.port} in its place{greeting}. "
        "What it does with the mail, and from which address, is its own affair."
    )


def _stand_in(view: ClientView, group: Group) -> Iterator[str]:
    if group[0].hop:
        yield f"It is not {view.target} that does so: a middlebox takes the connection in its place."
    yield "A port scanner calls such a port open: that the connection comes about proves nothing."


def _altered(view: ClientView, group: Group) -> Iterator[str]:
    yield "A firewall on the way inspects SMTP (as a Cisco ASA does with `inspect esmtp`)."
    if group[0].mechanism is Mechanism.STARTTLS_STRIPPING:
        yield "Mail goes in clear; a client that insists on TLS sends none."


def _sni(view: ClientView, group: Group) -> Iterator[str]:
    yield "A filter reads the server's name in the TLS handshake, and resets the session."


def _large(view: ClientView, group: Group) -> Iterator[str]:
    yield (
        "Large packets vanish on the way, and so do the ICMP errors that would say so: small mail gets through, large "
        "mail hangs."
    )


def _no_listener(view: ClientView, group: Group) -> Iterator[str]:
    if group[0].port == 25:
        yield "That is no block: the server does not take mail on this port."


def _misled(view: ClientView, group: Group) -> Iterator[str]:
    yield f"Mail to {view.target} goes to that address, and not to its server."


def _plainly(view: ClientView, group: Group) -> Iterator[str]:
    info = MECHANISM_INFO[group[0].mechanism]
    if group[0].mechanism not in (*WORKING, Mechanism.UNKNOWN):
        yield f"{info.text[0].upper()}{info.text[1:]}."


_MEANINGS: Mapping[Mechanism, Callable[[ClientView, Group], Iterator[str]]] = {
    Mechanism.SYN_DROP: _silent,
    Mechanism.ANSWER_DROP: _silent,
    Mechanism.NO_ANSWER: _silent,
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
    Mechanism.NAME_SERVICE: _misled,
}
