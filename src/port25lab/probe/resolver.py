"""What several DNS servers say of one name, each asked by itself: those of ``resolv.conf``, and the name's own zone.

One resolver that lies, or is out of date, shows beside the others. Only servers are asked that this machine's set-up or
the name's own zone names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Literal

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.resolver

from port25lab.model.addresses import IpVersion
from port25lab.probe.client_view import NameAnswer

SECONDS = 4.0
"""For all answers together."""

ONE_SECONDS = 2.0

ALIVE_SECONDS = 1.3

MOST_SERVERS = 3
"""Resolvers that are asked, and servers of the zone."""

INSIDE = ("local", "localdomain", "localhost", "lan", "internal", "intranet", "corp", "home", "home.arpa")
"""Domains that are no public ones (RFC 6762, RFC 8375 and habits): a private address is right there."""

PRIVATE = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"))
)
"""RFC 1918, RFC 3927, RFC 4193, RFC 4291. Shared addresses (RFC 6598) are public ones to their customers."""


def is_literal(host: str) -> bool:
    """Whether a host is named by its address."""
    with suppress(ValueError):
        return bool(ip_address(host.partition("%")[0]))
    return False


def is_public(host: str) -> bool:
    """Whether a name belongs to the DNS that everybody sees."""
    name = host.lower().rstrip(".")
    return not is_literal(host) and "." in name and not any(name == one or name.endswith(f".{one}") for one in INSIDE)


def misleads(address: str, own: Sequence[str] = ()) -> Literal["nowhere", "here", "private"] | None:
    """Why an address can be none of a public server; None: it can be one.

    ``own``: the addresses of this machine's interfaces.
    """
    parsed = ip_address(address.partition("%")[0])
    if parsed.is_unspecified:
        return "nowhere"
    if parsed.is_loopback or address in own:
        return "here"
    return "private" if any(parsed in network for network in PRIVATE if network.version == parsed.version) else None


async def any_alive() -> bool:
    """Whether a server of ``resolv.conf`` answers at all, whatever it says of the root zone."""
    try:
        servers = dns.asyncresolver.Resolver().nameservers
    except (dns.exception.DNSException, OSError):
        return False
    return any(await asyncio.gather(*(_is_alive(str(one)) for one in dict.fromkeys(servers))))


async def _is_alive(server: str) -> bool:
    try:
        await dns.asyncquery.udp(dns.message.make_query(".", "NS"), server, timeout=ALIVE_SECONDS)
    except (dns.exception.DNSException, OSError):
        return False
    return True


async def answers(host: str, versions: Sequence[IpVersion]) -> tuple[NameAnswer, ...]:
    """What each server says of a name; empty for an address, a name of a private domain, or without a resolver."""
    if not is_public(host):
        return ()
    try:
        configured = dns.asyncresolver.Resolver()
    except (dns.exception.DNSException, OSError):
        return ()
    servers = [str(one) for one in dict.fromkeys(configured.nameservers)][:MOST_SERVERS]
    jobs = [asyncio.ensure_future(_ask(server, "configured", host, versions)) for server in servers]
    of_zone = asyncio.ensure_future(_of_the_zone(configured, host, versions))
    try:
        await asyncio.wait([*jobs, of_zone], timeout=SECONDS)
        found = [job.result() for job in jobs if job.done()]
        return (*found, *(of_zone.result() if of_zone.done() else ()))
    finally:
        for task in (*jobs, of_zone):
            task.cancel()


async def _of_the_zone(
    configured: dns.asyncresolver.Resolver, host: str, versions: Sequence[IpVersion]
) -> list[NameAnswer]:
    """The answers of the zone's own servers, without the resolver in between; empty where they cannot be found."""
    try:
        zone = await dns.asyncresolver.zone_for_name(dns.name.from_text(host), resolver=configured)
        named = await configured.resolve(zone, "NS", lifetime=ONE_SECONDS)
        names = [str(record.target) for record in named][:MOST_SERVERS]
        found = await asyncio.gather(*(_look_up(configured, name, (4, 6)) for name in names))
    except (dns.exception.DNSException, UnicodeError, OSError):
        return []
    servers = [address for addresses, _ in found for address in addresses if misleads(address) != "nowhere"]
    return list(await asyncio.gather(*(_ask(one, "authoritative", host, versions) for one in servers[:MOST_SERVERS])))


async def _ask(
    server: str, role: Literal["configured", "authoritative"], host: str, versions: Sequence[IpVersion]
) -> NameAnswer:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [server]
    found, problem = await _look_up(resolver, host, versions)
    return NameAnswer(server=server, role=role, addresses=found, problem=problem)


async def _look_up(
    resolver: dns.asyncresolver.Resolver, name: str, versions: Sequence[IpVersion]
) -> tuple[tuple[str, ...], str | None]:
    """All addresses of a name, or why there are none."""
    results = await asyncio.gather(*(_records(resolver, name, "AAAA" if one == 6 else "A") for one in versions))
    found = tuple(address for addresses, _ in results for address in addresses)
    return found, None if found else next((problem for _, problem in results if problem), "it has no address")


async def _records(resolver: dns.asyncresolver.Resolver, name: str, kind: str) -> tuple[list[str], str | None]:
    try:
        answer = await resolver.resolve(name, kind, lifetime=ONE_SECONDS, search=False)
    except dns.resolver.NXDOMAIN:
        return [], "there is no such name"
    except dns.resolver.NoAnswer:
        return [], None
    except (dns.exception.Timeout, OSError):
        return [], "no answer"
    except (dns.exception.DNSException, UnicodeError) as error:
        return [], str(error)[:200]
    return [str(record.address) for record in answer], None


async def names_lead_to(
    names: Sequence[str], versions: Sequence[IpVersion], seconds: float
) -> dict[str, tuple[str, ...]]:
    """The addresses of host names in the DNS, as this machine's resolver has them. Names without any are left out."""
    try:
        configured = dns.asyncresolver.Resolver()
        async with asyncio.timeout(seconds):
            found = await asyncio.gather(*(_look_up(configured, name, versions) for name in names))
    except (dns.exception.DNSException, OSError, TimeoutError):
        return {}
    return {name: addresses for name, (addresses, _) in zip(names, found, strict=True) if addresses}
