"""Names as this machine resolves them: addresses by its own resolver, a domain's MX by the servers of resolv.conf."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.resolver

from port25lab.errors import InputError, MachineError
from port25lab.model.addresses import IpVersion

RESOLVE_SECONDS = 4.0

NO_ANSWER = (dns.exception.Timeout, dns.resolver.NoNameservers)


class UnresolvedError(InputError):
    """A name that has no address, or a domain that takes no mail.

    ``silence``: whether no answer came, which says nothing about the name.
    """

    def __init__(self, what: str, *, allowed: str = "", silence: bool = False) -> None:
        self.silence = silence
        super().__init__(what, allowed=allowed)


async def addresses(host: str, versions: Sequence[IpVersion]) -> dict[IpVersion, str]:
    """The first address of each IP version. Raises UnresolvedError where there is none at all."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise _unresolved(host, f"no answer within {RESOLVE_SECONDS:g} s", silence=True) from None
    except (socket.gaierror, UnicodeError) as error:
        words, silence = getattr(error, "strerror", None) or str(error), error.args[0] == socket.EAI_AGAIN
        raise _unresolved(host, words, silence=silence) from None
    result: dict[IpVersion, str] = {}
    for family, _, _, _, address in found:
        version: IpVersion = 6 if family == socket.AF_INET6 else 4
        if version in versions:
            result.setdefault(version, with_scope(address))
    if not result:
        raise _unresolved(host, f"it has no IPv{versions[0]} address")
    return result


async def exchangers(domain: str) -> tuple[str, ...]:
    """The MXs of a domain, the preferred one first; without an MX the domain itself (RFC 5321 section 5.1).

    Raises UnresolvedError for a domain that does not exist or takes no mail, MachineError without a resolver.
    """
    try:
        resolver = dns.asyncresolver.Resolver()
    except (dns.resolver.NoResolverConfiguration, OSError) as error:
        raise MachineError(
            f"no resolver to ask for an MX: {error}", "name one in /etc/resolv.conf, or probe the MX by its own name"
        ) from None
    try:
        answer = await resolver.resolve(domain, "MX", lifetime=RESOLVE_SECONDS)
    except dns.resolver.NoAnswer:
        return (domain,)
    except (dns.exception.DNSException, UnicodeError, OSError) as error:
        raise _unresolved(domain, _reason(error), silence=isinstance(error, NO_ANSWER)) from None
    names = [str(record.exchange).rstrip(".") for record in sorted(answer, key=lambda record: record.preference)]
    if names == [""]:
        raise UnresolvedError(f"{domain} takes no mail (null MX, RFC 7505)", allowed="allowed is a mail domain")
    return tuple(name for name in names if name)


def with_scope(address: tuple[Any, ...]) -> str:
    """The address of a socket address, with its zone (RFC 4007 section 11): ``fe80::1%eth0``."""
    text, scope = str(address[0]), address[3] if len(address) > 3 else 0
    if not scope or "%" in text:
        return text
    try:
        return f"{text}%{socket.if_indextoname(int(scope))}"
    except OSError:
        return f"{text}%{scope}"


def _reason(error: Exception) -> str:
    if isinstance(error, dns.resolver.NXDOMAIN):
        return "there is no such domain"
    if isinstance(error, NO_ANSWER):
        return "no resolver of /etc/resolv.conf gives an answer"
    return str(error)


def _unresolved(name: str, why: str, *, silence: bool = False) -> UnresolvedError:
    return UnresolvedError(
        f"{name!r} cannot be resolved: {why}",
        allowed="allowed is a host name that the resolver knows, or an address",
        silence=silence,
    )
