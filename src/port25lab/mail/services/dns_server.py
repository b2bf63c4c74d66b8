"""DNS servers on a node, over UDP and TCP.

Queries are answered by ``zones.Zones``, the authoritative data of the lab, or by ``Resolver``, which asks another
server and keeps its answers. A malformed query gets FORMERR or no answer.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from port25lab.kernel import ipv6
from port25lab.mail.host import Host
from port25lab.mail.resolver import PAYLOAD, DnsFailure, ask, question
from port25lab.mail.services.tasks import TaskSupervisor, accept
from port25lab.model.service_kinds import DNS_PORT

IDLE_SECONDS = 10.0

CACHE_SIZE = 500

_HEADER = struct.Struct(">HHHHHH")

_PLAIN_UDP = 512

_BADVERS = dns.rcode.Rcode(16)

Query = dns.message.Message

Answer = Callable[[Query], Awaitable[Query]]
"""Answers a query with one question of class IN."""


Lasting = Callable[[Query], float]
"""Until when the answer that a query has just got may be given again: seconds on the event loop's clock."""


def serve(
    host: Host,
    supervisor: TaskSupervisor,
    what: str,
    answer: Answer,
    lasting: Lasting,
    note: Callable[[str], None],
) -> None:
    """Serve DNS on all addresses of a host.

    ``what``: the service, for the text of errors. ``answer``: answers a query. ``lasting``: how long that answer lasts.
    ``note``: takes a line about each query. Raises OSError where the port is taken.
    """
    replies = Replies(answer, lasting, note)
    # A socket for each address: an answer then comes from the address that was asked.
    wildcards, loopbacks = (("0.0.0.0", "::"), ("127.0.0.1", "::1")) if ipv6.works() else (("0.0.0.0",), ("127.0.0.1",))  # noqa: S104
    own = dict.fromkeys((*loopbacks, *(str(address.ip) for address in host.addresses)))
    for address in own:
        sock = host.bind_datagram(address, DNS_PORT)
        supervisor.start(host.name, what, _datagrams(sock, host, supervisor, what, replies), holding=sock)
    for wildcard in wildcards:
        listener = host.listen(wildcard, DNS_PORT)

        async def stream(connection: socket.socket, _peer: tuple[str, int]) -> None:
            await _stream(connection, replies)

        supervisor.start(host.name, what, accept(listener, supervisor, host.name, what, stream), holding=listener)


def _in_words(query: Query, answered: Query) -> str:
    """``mx.example.net. A: 203.0.113.25``."""
    asked = query.question[0]
    found = [str(data) for rrset in answered.answer for data in rrset]
    kind = dns.rdatatype.to_text(asked.rdtype)
    return f"{asked.name} {kind}: {', '.join(found) or dns.rcode.to_text(answered.rcode())}"


async def reply(wire: bytes, answer: Answer, *, over_udp: bool) -> bytes | None:
    """The bytes that a server sends back for a query; None where it sends nothing.

    ``over_udp``: the answer may have to be truncated.
    """
    try:
        query = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError, struct.error):
        return _formerr(wire)
    if query.flags & dns.flags.QR:
        return None
    rcode = _objection(query)
    if rcode is None:
        response = await answer(query)
    else:
        response = dns.message.make_response(query, our_payload=PAYLOAD)
        response.set_rcode(rcode)
    if not over_udp:
        return response.to_wire(max_size=65535)
    limit = min(max(query.payload, _PLAIN_UDP), PAYLOAD) if query.edns >= 0 else _PLAIN_UDP
    try:
        return response.to_wire(max_size=limit)
    except dns.exception.TooBig:
        response.answer, response.authority, response.additional = [], [], []
        response.flags |= dns.flags.TC
        return response.to_wire(max_size=limit)


class Replies:
    """The replies of a server. Equal queries get equal bytes, as long as the answer lasts."""

    def __init__(self, answer: Answer, lasting: Lasting, note: Callable[[str], None] = lambda _: None) -> None:
        """``note``: takes a line about each query that has an answer."""
        self._answer, self._lasting, self._note = answer, lasting, note
        self._known: dict[tuple[bytes, bool], tuple[float, bytes, str]] = {}
        """By query without its id, and whether it came over UDP: until when, the reply, and the line about it."""

    async def to(self, wire: bytes, *, over_udp: bool) -> bytes | None:
        """The reply to a query; None where the server sends nothing."""
        key, until, words = (wire[2:], over_udp), 0.0, ""
        expiry, known, known_words = self._known.get(key, (0.0, b"", ""))
        if asyncio.get_running_loop().time() < expiry:
            self._note(known_words)
            return wire[:2] + known

        async def answer(query: Query) -> Query:
            nonlocal until, words
            answered = await self._answer(query)
            words = _in_words(query, answered)
            self._note(words)
            until = self._lasting(query)
            return answered

        response = await reply(wire, answer, over_udp=over_udp)
        if response is not None and until:
            self._known.pop(key, None)
            self._known[key] = until, response[2:], words
            if len(self._known) > CACHE_SIZE:
                del self._known[next(iter(self._known))]
        return response


class Resolver:
    """Asks another server from its own host, and keeps each answer for its TTL."""

    def __init__(self, host: Host, upstream: str) -> None:
        self._host, self._upstream = host, upstream
        self._cache: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], tuple[float, dns.message.Message]] = {}

    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The upstream server's answer; SERVFAIL where there is none."""
        response = dns.message.make_response(query, recursion_available=True, our_payload=PAYLOAD)
        asked = query.question[0]
        try:
            known = await self._look_up(asked.name, asked.rdtype, query.id)
        except DnsFailure:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response
        response.set_rcode(known.rcode())
        response.answer, response.authority = list(known.answer), list(known.authority)
        return response

    def lasting(self, query: Query) -> float:
        """Until when the answer to a query is kept; 0 where there is none."""
        asked = query.question[0]
        return self._cache.get((asked.name, asked.rdtype), (0.0, None))[0]

    async def _look_up(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, number: int) -> dns.message.Message:
        """``number``: of the client's query. The query to the upstream server has it, too: both are one lookup."""
        now = asyncio.get_running_loop().time()
        expiry, known = self._cache.get((name, rdtype), (now, None))
        if known is not None and now < expiry:
            return known
        known = await ask(self._host, self._upstream, question(name, rdtype, number))
        if known.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            lives = [rrset.ttl for section in (known.answer, known.authority) for rrset in section]
            self._cache.pop((name, rdtype), None)
            self._cache[name, rdtype] = now + min(lives, default=0), known
            if len(self._cache) > CACHE_SIZE:
                del self._cache[next(iter(self._cache))]
        return known


async def _datagrams(sock: socket.socket, host: Host, supervisor: TaskSupervisor, what: str, replies: Replies) -> None:
    loop = asyncio.get_running_loop()

    async def answer_one(wire: bytes, sender: tuple[str, int]) -> None:
        response = await replies.to(wire, over_udp=True)
        if response is not None:
            with suppress(OSError):  # a policy on this very node may forbid the answer
                await loop.sock_sendto(sock, response, sender)

    while True:
        wire, sender = await loop.sock_recvfrom(sock, 65535)
        supervisor.start(host.name, what, answer_one(wire, sender))


async def _stream(connection: socket.socket, replies: Replies) -> None:
    """Queries one after the other, each behind its length (RFC 7766)."""
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                length = int.from_bytes(await reader.readexactly(2), "big")
                wire = await reader.readexactly(length)
            response = await replies.to(wire, over_udp=False)
            if response is None:
                break
            writer.write(len(response).to_bytes(2, "big") + response)
            await writer.drain()
    except (OSError, EOFError):  # the client has left, or sends nothing more
        pass
    finally:
        writer.close()


def _objection(query: dns.message.Message) -> dns.rcode.Rcode | None:
    """Why a query that could be read is not answered."""
    if query.opcode() != dns.opcode.QUERY:
        return dns.rcode.NOTIMP
    if query.edns > 0:
        return _BADVERS
    if len(query.question) != 1:
        return dns.rcode.FORMERR
    if query.question[0].rdclass != dns.rdataclass.IN:
        return dns.rcode.REFUSED
    return None


def _formerr(wire: bytes) -> bytes | None:
    """FORMERR with the query's id; None where the header is incomplete, or where the message is a response."""
    if len(wire) < _HEADER.size:
        return None
    ident, flags, *_counts = _HEADER.unpack_from(wire)
    if flags & dns.flags.QR:
        return None
    kept = flags & (0x7800 | dns.flags.RD)  # opcode and RD (RFC 1035 section 4.1.1)
    return _HEADER.pack(ident, dns.flags.QR | kept | dns.rcode.FORMERR, 0, 0, 0, 0)
