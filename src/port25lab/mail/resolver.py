"""DNS lookups as clients make them: from a host's own sockets, to its own resolvers, through the network between.

    await mx(host, "example.net")          → [Mx(preference=10, exchange="mx.example.net")]
    await addresses(host, "mx.example.net", None)  → ["2001:db8:25::25", "192.0.2.25"]

A name that does not resolve raises ``DnsFailure``, whose text says why and which server was asked.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype

from port25lab.mail.host import Host
from port25lab.model.addresses import IpVersion
from port25lab.model.service_kinds import DNS_PORT

TRY_SECONDS = 0.5
"""Time before a query is sent again; doubled each time, as resolvers do. Nothing is concluded from it in a lab."""

TRIES = 2
"""How often a query is sent to a server over UDP before the next server is asked: as often as glibc does."""

TCP_SECONDS = 2.0

PAYLOAD = 1232
"""Bytes that fit into a UDP packet on every path (DNS flag day 2020)."""


_NUMBERS, _SPREAD = itertools.count(secrets.randbelow(0x10000)), 0x9E37
"""All queries of a lab come from one process. An odd factor gives each of 65,536 in turn a number of its own."""

_AnyRecord = Any
"""A record of dnspython, whose fields depend on its type."""

_ADDRESS_TYPES: dict[IpVersion, dns.rdatatype.RdataType] = {6: dns.rdatatype.AAAA, 4: dns.rdatatype.A}


class DnsFailure(Exception):  # noqa: N818  # what the network did, not an error of port25lab
    """A name did not resolve. ``smtp_code`` and ``enhanced_code`` are set where the failure is permanent for mail."""

    def __init__(
        self,
        text: str,
        smtp_code: int | None = None,
        enhanced_code: str | None = None,
        queries: Iterable[Query] = (),
        *,
        answered: bool = True,
    ) -> None:
        """``queries``: those that were sent in vain. ``answered``: whether a server or the name says so."""
        super().__init__(text)
        self.smtp_code, self.enhanced_code = smtp_code, enhanced_code
        self.queries, self.answered = tuple(queries), answered


@dataclass(frozen=True)
class Query:
    """A query to one server."""

    server: str
    number: int
    """Of the message (ID): the same in the answer."""
    source_port: int | None = None
    """Of the connection, where it was sent over TCP as well."""


@dataclass(frozen=True, order=True)
class Mx:
    """A mail exchanger; the lowest preference comes first."""

    preference: int
    exchange: str


async def mx(host: Host, domain: str) -> list[Mx]:
    """The domain's exchangers in order; the domain itself where it has none (RFC 5321 section 5.1)."""
    found = await _records(host, domain, dns.rdatatype.MX)
    exchangers = sorted(Mx(record.preference, _text(record.exchange)) for record in found)
    if [exchanger.exchange for exchanger in exchangers] == ["."]:
        raise DnsFailure(f"{domain} takes no mail (null MX, RFC 7505)", 556, "5.1.10")
    return exchangers or [Mx(0, domain)]


async def addresses(host: Host, name: str, ip_version: IpVersion | None) -> list[str]:
    """The name's addresses of one IP version; None: of each version that the host has, IPv6 first (RFC 6724)."""
    literal = _literal(name)
    versions = _versions(host) if ip_version is None else [ip_version]
    if literal is not None:
        if ip_version in (None, literal):
            return [name]
        raise DnsFailure(f"{name} is no IPv{ip_version} address")
    answers = await asyncio.gather(
        *(_records(host, name, _ADDRESS_TYPES[version]) for version in versions), return_exceptions=True
    )
    found = [record.address for answer in answers if not isinstance(answer, BaseException) for record in answer]
    if not found:
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, DnsFailure):
                raise failure
        if failures:
            raise _first_unanswered([failure for failure in failures if isinstance(failure, DnsFailure)])
        wanted = " or ".join(f"IPv{version}" for version in versions)
        raise DnsFailure(f"{name} has no {wanted} address", 550, "5.1.2")
    return found


async def ask(host: Host, server: str, query: dns.message.Message) -> dns.message.Message:
    """Send a query to one server: over UDP, repeated where no answer comes, and over TCP where the answer is truncated.

    ``host``: the node that asks. ``server``: its address. Returns the server's answer. Raises DnsFailure where the
    server cannot be reached or does not answer.
    """
    sent = Query(server, query.id)
    try:
        answer = await _over_udp(host, server, query)
        if answer.flags & dns.flags.TC:
            sent = replace(sent, source_port=host.source_port())
            answer = await _over_tcp(host, sent, query)
        return answer
    except TimeoutError:
        raise DnsFailure(f"the DNS server {server} does not answer", queries=[sent], answered=False) from None
    except (OSError, EOFError, dns.exception.DNSException) as error:
        reason = getattr(error, "strerror", None) or str(error)
        text = f"the DNS server {server} cannot be asked: {reason}"
        raise DnsFailure(text, queries=[sent], answered=False) from None


def question(
    name: str | dns.name.Name, rdtype: dns.rdatatype.RdataType, number: int | None = None
) -> dns.message.Message:
    """A query as clients of the lab send it.

    ``number``: of the query on whose behalf it is sent; None: one that no other query of this process has had lately.
    """
    number = next(_NUMBERS) * _SPREAD & 0xFFFF if number is None else number
    query = copy.copy(_template(name, rdtype)[0])
    query.id = number
    return query


@lru_cache(maxsize=1000)
def _template(name: str | dns.name.Name, rdtype: dns.rdatatype.RdataType) -> tuple[dns.message.Message, bytes]:
    """A query, and its bytes without the id. Clients of a lab ask the same questions again and again."""
    query = dns.message.make_query(name, rdtype, use_edns=0, payload=PAYLOAD)
    return query, query.to_wire()[2:]


def _wire(query: dns.message.Message) -> bytes:
    asked = query.question[0]
    template, body = _template(asked.name, asked.rdtype)
    same = template.sections is query.sections and template.flags == query.flags
    return query.id.to_bytes(2, "big") + body if same else query.to_wire()


def status_query() -> dns.message.Message:
    """A query that every server answers itself: with NOTIMP, because none implements the opcode (RFC 1035 4.1.1)."""
    query = question(dns.name.root, dns.rdatatype.SOA)
    query.set_opcode(dns.opcode.STATUS)
    return query


async def _records(host: Host, name: str, rdtype: dns.rdatatype.RdataType) -> list[_AnyRecord]:
    """The records of one type; none where the name only has others. The first server that knows the name decides."""
    try:
        query = question(dns.name.from_text(name), rdtype)
    except (dns.exception.DNSException, UnicodeError):
        raise DnsFailure(f"{name!r} is no domain name", 550, "5.1.2") from None
    failure = DnsFailure(f"{host.name} has no DNS server to ask")
    sent: list[Query] = []
    for server in host.resolvers:
        sent.append(Query(server, query.id))
        try:
            answer = await ask(host, server, query)
        except DnsFailure as silent:
            failure, sent[-1:] = silent, silent.queries
            continue
        if answer.rcode() == dns.rcode.NXDOMAIN:
            raise DnsFailure(f"{name} does not exist (NXDOMAIN from {server})", 550, "5.1.2", sent)
        if answer.rcode() == dns.rcode.NOERROR:
            return _chased(answer)
        text = f"{name} cannot be resolved ({dns.rcode.to_text(answer.rcode())} from {server})"
        failure = DnsFailure(text, answered=answer.rcode() != dns.rcode.SERVFAIL)
    failure.queries = tuple(sent)
    raise failure


def _first_unanswered(failures: Sequence[DnsFailure]) -> DnsFailure:
    """The failure that says most: one without an answer, with the queries of all of them."""
    failure = next((one for one in failures if not one.answered), failures[0])
    failure.queries = tuple(query for one in failures for query in one.queries)
    return failure


def _chased(answer: dns.message.Message) -> list[_AnyRecord]:
    """The records at the end of the answer's CNAME chain, if any."""
    if not isinstance(answer, dns.message.QueryMessage):
        return []
    try:
        return list(answer.resolve_chaining().answer or ())
    except dns.exception.DNSException:
        return []


async def _over_udp(host: Host, server: str, query: dns.message.Message) -> dns.message.Message:
    loop = asyncio.get_running_loop()
    with host.datagram(6 if ":" in server else 4) as sock:
        # Connected: the kernel drops packets of other senders, and an ICMP error becomes an errno at once.
        await loop.sock_connect(sock, (server, DNS_PORT))
        for number in range(TRIES):
            await loop.sock_sendall(sock, _wire(query))
            with suppress(TimeoutError):
                async with asyncio.timeout(TRY_SECONDS * 2**number):
                    while (answer := _parsed(await loop.sock_recv(sock, 65535), query)) is None:
                        pass
                    return answer
    raise TimeoutError


async def _over_tcp(host: Host, sent: Query, query: dns.message.Message) -> dns.message.Message:
    async with asyncio.timeout(TCP_SECONDS):
        connection = await host.connect(sent.server, DNS_PORT, sent.source_port)
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            writer.write(query.to_wire(prepend_length=True))
            length = int.from_bytes(await reader.readexactly(2), "big")
            answer = _parsed(await reader.readexactly(length), query)
        finally:
            writer.close()
    if answer is None:
        raise EOFError("the response does not answer the query")
    return answer


def _parsed(wire: bytes, query: dns.message.Message) -> dns.message.Message | None:
    """The message, if it answers the query."""
    try:
        message = copy.copy(_read(wire[2:]))
    except (dns.exception.DNSException, ValueError):
        return None
    message.id = int.from_bytes(wire[:2], "big")
    return message if query.is_response(message) else None


@lru_cache(maxsize=1000)
def _read(body: bytes) -> dns.message.Message:
    """A message without its id. Nothing may change it: clients of a lab get equal answers again and again."""
    return dns.message.from_wire(b"\0\0" + body, ignore_trailing=True, raise_on_truncation=False)


def _versions(host: Host) -> list[IpVersion]:
    own = {address.version for address in host.addresses}
    return [version for version in _ADDRESS_TYPES if version in own] or list(_ADDRESS_TYPES)


def _literal(name: str) -> int | None:
    with suppress(ValueError):
        return ip_address(name).version
    return None


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=name != dns.name.root)
