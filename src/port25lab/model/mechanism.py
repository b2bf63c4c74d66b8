"""The mechanisms: what is at work on a path.

An outcome says how an attempt ended, a mechanism what made it end so: `intercepted` may be a whole MTA, a refusing
greeting, a connection that is accepted and closed, or a tarpit. Two classifiers use these words: ``verdict``, which has
every view of a lab, and ``probe``, which has the client's view alone.

First in the list is what stands between client and server, then what a real server does, then the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mechanism(StrEnum):
    """What is at work on a path."""

    NONE = "none"

    SYN_DROP = "syn-drop"
    ANSWER_DROP = "answer-drop"
    NEIGHBOUR_DISCOVERY = "neighbour-discovery"
    REJECT_ICMP = "reject-icmp"
    REJECT_RESET = "reject-reset"
    RATE_LIMIT = "rate-limit"
    RANDOM_LOSS = "random-loss"
    INTERCEPTION = "interception"
    REFUSING_GREETING = "refusing-greeting"
    ACCEPT_CLOSE = "accept-close"
    TARPIT = "tarpit"
    STARTTLS_STRIPPING = "starttls-stripping"
    BANNER_MASKING = "banner-masking"
    SNI_RESET = "sni-reset"
    MTU_BLACK_HOLE = "mtu-black-hole"
    SESSION_CUT = "session-cut"

    GREYLISTING = "greylisting"
    DNSBL_LISTING = "dnsbl-listing"
    SERVER_REFUSAL = "server-refusal"
    NO_LISTENER = "no-listener"

    NO_ROUTE = "no-route"
    NO_ANSWER = "no-answer"
    NO_NAME = "no-name"
    NAME_SERVICE = "name-service"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class MechanismInfo:
    """What a mechanism is, and where it is described.

    ``middle`` marks what is done between the two ends of the connection, and not by one of them.
    """

    text: str
    source: str
    middle: bool = False


MECHANISM_INFO: dict[Mechanism, MechanismInfo] = {
    Mechanism.NONE: MechanismInfo("nothing is at work: the path is as its two ends want it", ""),
    Mechanism.SYN_DROP: MechanismInfo(
        "a rule drops the client's SYN and says nothing", "JEAG's recommendation, IIJ's OP25B", middle=True
    ),
    Mechanism.ANSWER_DROP: MechanismInfo(
        "the SYN gets out, and a rule drops the answer to it: a SYN-ACK, a RST or an ICMP error",
        "Qian et al., IEEE S&P 2010",
        middle=True,
    ),
    Mechanism.NEIGHBOUR_DISCOVERY: MechanismInfo(
        "a rule drops neighbour discovery or ARP, so that a node cannot send to the next one",
        "RFC 4861 7.2, RFC 4890 4.4.1",
        middle=True,
    ),
    Mechanism.REJECT_ICMP: MechanismInfo(
        "a rule refuses the SYN with an ICMP error", "RFC 1812 5.2.7.1, RFC 4443 3.1", middle=True
    ),
    Mechanism.REJECT_RESET: MechanismInfo("a rule refuses the SYN with a RST", "RFC 9293 3.5.2", middle=True),
    Mechanism.RATE_LIMIT: MechanismInfo(
        "a rule lets so many connections pass and no more", "AWS's limit on port 25", middle=True
    ),
    Mechanism.RANDOM_LOSS: MechanismInfo(
        "a rule drops or rejects some packets by chance, and lets others like them pass",
        "iptables-extensions(8), statistic",
        middle=True,
    ),
    Mechanism.INTERCEPTION: MechanismInfo(
        "another mail server takes the session in the dialled one's place", "RFC 3234 2.1", middle=True
    ),
    Mechanism.REFUSING_GREETING: MechanismInfo(
        "a middlebox takes the connection and refuses in its greeting (554 or 421)", "RFC 5321 3.1, 4.2.1", middle=True
    ),
    Mechanism.ACCEPT_CLOSE: MechanismInfo(
        "a middlebox takes the connection and closes it without a word", "RFC 3463 4.4.2", middle=True
    ),
    Mechanism.TARPIT: MechanismInfo(
        "a middlebox takes the connection and keeps the client waiting", "RFC 3463 4.4.1", middle=True
    ),
    Mechanism.STARTTLS_STRIPPING: MechanismInfo(
        "a middlebox takes STARTTLS out of what the server offers", "RFC 3207 6; Cisco ASA's inspect esmtp", middle=True
    ),
    Mechanism.BANNER_MASKING: MechanismInfo(
        "a middlebox overwrites the server's greeting", "Cisco ASA's inspect esmtp", middle=True
    ),
    Mechanism.SNI_RESET: MechanismInfo(
        "a rule resets the session at the server's name in the TLS handshake", "RFC 6066 3", middle=True
    ),
    Mechanism.MTU_BLACK_HOLE: MechanismInfo(
        "large packets vanish without the ICMP error that would say so: EHLO works, the message hangs",
        "RFC 2923 2.1",
        middle=True,
    ),
    Mechanism.SESSION_CUT: MechanismInfo("a rule cuts a session that was open already", "RFC 3463 4.4.2", middle=True),
    Mechanism.GREYLISTING: MechanismInfo("the server refuses strangers at first, and takes the same later", "RFC 6647"),
    Mechanism.DNSBL_LISTING: MechanismInfo(
        "the server refuses a client whose address is on a blocklist", "RFC 5782, 5.7.1"
    ),
    Mechanism.SERVER_REFUSAL: MechanismInfo(
        "the real server refuses: credentials, TLS, relaying, or something else that it says itself", "RFC 5321 4.2.1"
    ),
    Mechanism.NO_LISTENER: MechanismInfo(
        "nothing listens where the SYN ends, and that node answers RST", "RFC 9293 3.5.2"
    ),
    Mechanism.NO_ROUTE: MechanismInfo("there is no way to the destination, or back from it", "RFC 1812 5.2.7.1"),
    Mechanism.NO_ANSWER: MechanismInfo("no host answers where the packets end", "RFC 9293 3.8.3"),
    Mechanism.NO_NAME: MechanismInfo("the name or its MX cannot be resolved", "RFC 5321 5.1"),
    Mechanism.NAME_SERVICE: MechanismInfo(
        "a rule keeps DNS queries or their answers from passing, or sends them to another server",
        "RFC 1035",
        middle=True,
    ),
    Mechanism.UNKNOWN: MechanismInfo("the evidence does not tell", ""),
}
