"""What to do about a diagnosis, by its place: advice depends on whose block it is. A table, read from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass

from port25lab.model.mechanism import MECHANISM_INFO, Mechanism
from port25lab.probe.case import Diagnosis
from port25lab.probe.causes import Cause
from port25lab.probe.places import Place

WHERE: dict[Place, str] = {
    Place.OWN_MACHINE: "on this machine itself",
    Place.RESOLVER: "at the DNS resolver that this machine asks",
    Place.OWN_ROUTER: "at your own router",
    Place.ACCESS_NETWORK: "in your access provider's network",
    Place.PLATFORM: "in the network of the platform on which this machine runs",
    Place.BEFORE_THE_SERVER: "in the receiver's network, before the server",
    Place.SERVER: "at the server itself",
}

WHOM: dict[Place, str] = {
    Place.OWN_ROUTER: "the person who runs the first router",
    Place.ACCESS_NETWORK: "your access provider's support",
    Place.PLATFORM: "the platform's support",
    Place.BEFORE_THE_SERVER: "the receiver's postmaster",
    Place.SERVER: "the receiver's postmaster",
    Place.RESOLVER: "the person who runs the resolver",
}
"""Who can change something there. On the own machine: the reader."""

_STOPS = frozenset(
    {
        Mechanism.SYN_DROP,
        Mechanism.ANSWER_DROP,
        Mechanism.REJECT_ICMP,
        Mechanism.REJECT_RESET,
        Mechanism.RATE_LIMIT,
        Mechanism.ACCEPT_CLOSE,
        Mechanism.REFUSING_GREETING,
        Mechanism.TARPIT,
        Mechanism.SESSION_CUT,
        Mechanism.SNI_RESET,
    }
)

_TAKES_OVER = frozenset({Mechanism.INTERCEPTION})

_ALTERS = frozenset({Mechanism.STARTTLS_STRIPPING, Mechanism.BANNER_MASKING})


@dataclass(frozen=True)
class Row:
    """Advice for diagnoses of a place."""

    place: Place | None
    """None: at any place."""
    mechanisms: frozenset[Mechanism]
    """Empty: of any mechanism."""
    cause: Cause | None
    """What the server says it refuses for; None: whatever it says."""
    do: tuple[str, ...]


def _row(place: Place | None, *do: str, of: frozenset[Mechanism] = frozenset(), cause: Cause | None = None) -> Row:
    return Row(place, of, cause, do)


ADVICE: tuple[Row, ...] = (
    _row(
        None,
        "Give the sending address a PTR record whose name leads back to it (FCrDNS), for IPv6 as well: the provider of "
        "the address does that. Until then send over the IP version that has one, or by a relay.",
        cause=Cause.NO_PTR,
    ),
    _row(
        None,
        "Add this address to the SPF record of the sender's domain, or send by the domain's own mail server, with a "
        "log-in on port 587 or 465.",
        cause=Cause.SPF,
    ),
    _row(
        None,
        "Use an envelope sender that belongs to the user who logs in, or let the server's administrator allow it.",
        cause=Cause.SENDER,
    ),
    _row(
        None,
        "Look the address up at the list that the reply names, and ask there to be removed. A dynamic address is "
        "listed as such: send by a relay, with a log-in on port 587 or 465.",
        cause=Cause.LISTED,
    ),
    _row(None, "Send less at a time, and try again later.", cause=Cause.RATE),
    _row(
        None,
        "Log in, on port 587 or 465; or use the server that is responsible for the recipient's domain (its MX).",
        cause=Cause.RELAY,
    ),
    _row(None, "Log in with the user and password of an account at this server.", cause=Cause.LOGIN),
    _row(None, "Try again after some minutes, as mail servers do by themselves.", cause=Cause.GREYLISTED),
    _row(
        None,
        "Try again after some minutes, as mail servers do by themselves.",
        of=frozenset({Mechanism.GREYLISTING}),
    ),
    _row(
        None,
        "Lower the MTU here (to 1400 or 1280), or clamp the MSS at the router.",
        of=frozenset({Mechanism.MTU_BLACK_HOLE}),
    ),
    _row(None, of=frozenset({Mechanism.NO_LISTENER})),
    _row(
        None,
        "Check how the name is spelt, and compare with another resolver: `dig @SERVER NAME`.",
        of=frozenset({Mechanism.NO_NAME}),
    ),
    _row(
        Place.OWN_MACHINE,
        "Look at this machine's own rules: `iptables -t nat -S OUTPUT` and `nft list ruleset`; a redirect to a local "
        "mail server is often the web host's (cPanel, CSF). An antivirus with a mail shield does the same.",
        "On a rented host ask for the switch in its panel, or send by the local mail server on purpose.",
        of=_TAKES_OVER | _ALTERS,
    ),
    _row(
        Place.OWN_MACHINE,
        "Look at this machine's own rules: `iptables -S OUTPUT`, `ip6tables -S OUTPUT`, `nft list ruleset`. Rules with "
        "`-m owner` let the local mail server alone through (cPanel's SMTP restrictions, CSF's SMTP_BLOCK).",
        "On a rented host look for that switch in its panel, or send by the local mail server.",
        of=_STOPS,
    ),
    _row(
        Place.OWN_MACHINE,
        "Look at this machine's set-up: `ip address`, `ip route`, `ip -6 route` and /etc/hosts.",
    ),
    _row(
        Place.RESOLVER,
        "Compare with another resolver: `dig @SERVER NAME`. Switch off the filter of the resolver or router that lies, "
        "or use another resolver (/etc/resolv.conf).",
    ),
    _row(
        Place.OWN_ROUTER,
        "At home: look in the router's settings for a list of allowed mail servers, and add this one or switch the "
        "list off. In a hotel, an office or a container that router is not yours: use a way out below.",
        of=_STOPS,
    ),
    _row(
        Place.OWN_ROUTER,
        "Do not give a password to what answers there. Look in the router's settings for a mail filter, or use a way "
        "out below.",
        of=_TAKES_OVER | _ALTERS,
    ),
    _row(
        Place.ACCESS_NETWORK,
        "Do not give a password to what answers there: it is not the server. Submit on another port, over TLS with a "
        "certificate that is checked.",
        of=_TAKES_OVER,
    ),
    _row(
        Place.ACCESS_NETWORK,
        "Let mail programs submit on port 587 or 465 with a log-in. A mail server of your own sends by the provider's "
        "relay or another one (a smarthost); direct delivery needs the provider to lift the block, which many do on "
        "request or with a fixed address.",
    ),
    _row(
        Place.PLATFORM,
        "Look in the platform's documentation for its port 25: some lift the block on request, some never do. Mail "
        "from there goes by a relay service, on port 587, 465 or 2525 with a log-in.",
    ),
    _row(
        Place.BEFORE_THE_SERVER,
        "Tell the receiver: their own inspection takes STARTTLS away or masks the greeting (on a Cisco ASA "
        "`inspect esmtp`). Your network is not to blame.",
        of=_ALTERS,
    ),
    _row(
        Place.BEFORE_THE_SERVER,
        "Tell the receiver: something in their own network stops it, and your way out is open.",
    ),
    _row(
        Place.SERVER,
        "Wait, or try from another network: a ban (fail2ban and its kin) ends by itself, and a host that is off comes "
        "back.",
        of=frozenset({Mechanism.NO_ANSWER, Mechanism.SYN_DROP, Mechanism.ANSWER_DROP}),
    ),
    _row(Place.SERVER, "The server's own words say why: ask its administrator."),
)

WAYS_HELP = frozenset(
    mechanism
    for mechanism, info in MECHANISM_INFO.items()
    if info.middle and mechanism not in (Mechanism.MTU_BLACK_HOLE, Mechanism.NEIGHBOUR_DISCOVERY, Mechanism.NO_ROUTE)
) | {Mechanism.DNSBL_LISTING}
"""Mechanisms that another port or a relay goes round."""


def what_to_do(diagnosis: Diagnosis) -> tuple[str, ...]:
    """What helps: for the likeliest place, and for the others that fit where that is something else."""
    found: dict[str, None] = {}
    for place in (diagnosis.place, *diagnosis.places):
        row = next((row for row in ADVICE if _fits(row, place, diagnosis)), None)
        if row is not None:
            found |= dict.fromkeys(row.do)
    return tuple(found)


def _fits(row: Row, place: Place | None, diagnosis: Diagnosis) -> bool:
    return (
        row.place in (None, place)
        and (not row.mechanisms or diagnosis.mechanism in row.mechanisms)
        and (row.cause is None or row.cause is diagnosis.cause)
        and (row.place is not None or bool(row.mechanisms) or row.cause is not None)
    )
