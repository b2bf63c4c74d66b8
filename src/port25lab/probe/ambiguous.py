"""What no client can tell apart, and why: the limit of the client-only classifier, as a table.

``classify`` names several mechanisms only where a row of this table has them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from port25lab.model.mechanism import Mechanism


@dataclass(frozen=True)
class Pair:
    """Mechanisms that leave the same evidence on the client's machine, as long as ``when`` holds."""

    mechanisms: frozenset[Mechanism]
    when: str
    reason: str
    remedy: str


def _row(mechanisms: Iterable[Mechanism], when: str, reason: str, remedy: str) -> Pair:
    return Pair(frozenset(mechanisms), when, reason, remedy)


INDISTINGUISHABLE: tuple[Pair, ...] = (
    _row(
        (Mechanism.SYN_DROP, Mechanism.ANSWER_DROP),
        "the SYN comes as far as the last router before the destination, or routers behind the block stay silent",
        "a SYN that is dropped at the destination's door and an answer that is dropped on its way back are the same "
        "silence; only the server sees a half-open connection in the one case and nothing in the other",
        "look at the server (SYN-RECV); if port 25 of another host is silent as well, answers are dropped",
    ),
    _row(
        (Mechanism.SYN_DROP, Mechanism.ANSWER_DROP, Mechanism.NO_ROUTE, Mechanism.NO_ANSWER),
        "no port of the host answers at all",
        "a host that is off, one that ignores this client (a ban), and a rule that drops everything to it are the same "
        "silence",
        "probe this host from another network, and another host from here",
    ),
    _row(
        (Mechanism.SYN_DROP, Mechanism.ANSWER_DROP, Mechanism.RATE_LIMIT),
        "the limit was used up before the probe, or no traceroute is made",
        "a limit that is used up drops SYNs as any other rule does",
        "wait as long as the limit lasts, and probe again",
    ),
    _row(
        (
            Mechanism.SYN_DROP,
            Mechanism.ANSWER_DROP,
            Mechanism.REJECT_ICMP,
            Mechanism.NO_ROUTE,
            Mechanism.NO_ANSWER,
        ),
        "other ports of the host are refused with ICMP errors, and this one is silent",
        "a host sends few ICMP errors in a second, so that a refusal may be silent",
        "probe this port alone (--ports)",
    ),
    _row(
        (Mechanism.NO_LISTENER, Mechanism.REJECT_RESET),
        "the reset comes from as far away as the destination or one hop before it, and its TTL cannot be read (no "
        "CAP_NET_RAW), or no other port of the destination answers to compare with",
        "a firewall writes the destination's address into its reset, and so does a router in front of a forwarded "
        "port; only the TTL shows how many hops a reset has come",
        "run as root: the TTL tells them apart, unless the firewall copies that as well",
    ),
    _row(
        (Mechanism.NO_ROUTE, Mechanism.REJECT_ICMP),
        "every port of the host meets the same 'unreachable' from the same router",
        "REJECT may send what a router without a route sends",
        "ask the router's owner",
    ),
    _row(
        (Mechanism.NO_ROUTE, Mechanism.REJECT_ICMP, Mechanism.NO_ANSWER),
        "every port of the host meets the same 'host unreachable' from the same router",
        "the last router says so of a host that is off, and REJECT may send the same",
        "probe again later, or ask the router's owner",
    ),
    _row(
        (Mechanism.NAME_SERVICE, Mechanism.NO_NAME),
        "no DNS server answers, or the name leads to an address of no public host and none says otherwise",
        "a resolver that is off and a rule that drops DNS are alike, and so are a lie and a zone with this address",
        "ask another resolver (`dig @9.9.9.9`)",
    ),
    _row(
        (Mechanism.NAME_SERVICE, Mechanism.NO_ROUTE),
        "the name leads to a private address, no DNS server says otherwise, and nothing answers there",
        "the name may be meant for use inside of a private network, which cannot be reached from here",
        "ask another resolver (`dig @9.9.9.9`)",
    ),
    _row(
        (Mechanism.NAME_SERVICE, Mechanism.NONE),
        "a mail server answers at an address that is no public one, or not the one that the zone has",
        "internal names and resolvers that spread load give other addresses, and so do resolvers that lie",
        "ask the operator of the server for its address",
    ),
    _row(
        (Mechanism.REFUSING_GREETING, Mechanism.SERVER_REFUSAL),
        "the greeting comes from as far away as the destination or one hop before it, or no other port shows how far "
        "that is",
        "a refusal of a middlebox has the same text as one of the server; only its distance can differ",
        "probe a port that the server closes or serves itself (--ports), so that its distance is known",
    ),
    _row(
        (Mechanism.INTERCEPTION, Mechanism.SERVER_REFUSAL),
        "the refusal comes from one hop before the destination",
        "a server's own load balancer or firewall answers for it as well",
        "compare with what the server says from another network",
    ),
    _row(
        (Mechanism.ACCEPT_CLOSE, Mechanism.SERVER_REFUSAL),
        "the same",
        "a server under load or with a blocklist also closes without a reply",
        "the same",
    ),
    _row(
        (Mechanism.TARPIT, Mechanism.NONE),
        "the same",
        "a slow server (greet delays of 5 to 30 s are common) and a tarpit differ in patience alone",
        "the same, or a longer --timeout",
    ),
    _row(
        (Mechanism.INTERCEPTION, Mechanism.NONE),
        "the answer comes from one hop before the destination, or two hosts greet alike from where they should be",
        "a server's own load balancer answers for it as well, and one provider's machines may have one name",
        "compare with what the server says of itself from another network",
    ),
    _row(
        (Mechanism.SESSION_CUT, Mechanism.SERVER_REFUSAL),
        "the connection ends in the middle of a session",
        "resets and closes come in the server's name",
        "look at the server's log",
    ),
    _row(
        (Mechanism.SESSION_CUT, Mechanism.SNI_RESET, Mechanism.SERVER_REFUSAL),
        "a handshake is cut short with the server's name and without it",
        "a server that wants no TLS does the same",
        "probe the same server under another of its names",
    ),
    _row(
        (Mechanism.SESSION_CUT, Mechanism.MTU_BLACK_HOLE),
        "packets are lost in the session, in small segments too",
        "a large packet that vanishes and a session from which all packets vanish",
        "send a message with --send-to: it is tried in small packets too",
    ),
    _row(
        (Mechanism.MTU_BLACK_HOLE, Mechanism.SESSION_CUT, Mechanism.SERVER_REFUSAL),
        "a TLS handshake meets silence",
        "the server's certificate may be too large for the path, or the server does not answer",
        "lower the MTU of this machine and try again",
    ),
    _row(
        (Mechanism.GREYLISTING, Mechanism.SERVER_REFUSAL),
        "a second try a moment later is refused too",
        "greylisting waits for minutes, and other refusals for now use the same codes",
        "send again after a quarter of an hour",
    ),
    _row(
        (Mechanism.DNSBL_LISTING, Mechanism.SERVER_REFUSAL),
        "the reply speaks of a list",
        "what the server has looked up is known from its reply alone",
        "ask the blocklist about this machine's public address",
    ),
    _row(
        (Mechanism.DNSBL_LISTING, Mechanism.REFUSING_GREETING, Mechanism.SERVER_REFUSAL),
        "the greeting refuses, and speaks of a list",
        "what the server has looked up is known from its reply alone, and a middlebox can send the same text",
        "ask the blocklist about this machine's public address",
    ),
    _row(
        (Mechanism.GREYLISTING, Mechanism.REFUSING_GREETING, Mechanism.SERVER_REFUSAL),
        "the greeting refuses for now",
        "greylisting waits for minutes, other refusals use the same codes, and a middlebox can send the same text",
        "send again after a quarter of an hour",
    ),
)


def explain(mechanisms: frozenset[Mechanism]) -> Pair | None:
    """The row that says why these cannot be told apart; None: they can."""
    fitting = [pair for pair in INDISTINGUISHABLE if mechanisms <= pair.mechanisms]
    return min(fitting, key=lambda pair: len(pair.mechanisms), default=None)
