"""An MX' checks by the recipient's domain: greylisting (RFC 6647) and DNS blocklists (RFC 5782)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from port25lab.mail.host import Host
from port25lab.mail.resolver import DnsFailure, addresses

PREFIX = {4: 24, 6: 64}
"""Bits of the client's address that count: a large sender retries from another one nearby (RFC 6647 section 2.2)."""


class RecipientChecks:
    """Tells for each recipient whether the client is refused, for now or for good."""

    def __init__(self, host: Host, service: Mapping[str, Any]) -> None:
        self._host = host
        self._greylist: Mapping[str, float] = _lowered(service.get("greylist"))
        self._dnsbl: Mapping[str, str] = _lowered(service.get("dnsbl"))
        self._first_seen: dict[tuple[object, str, str], float] = {}

    async def refusal(self, client: str, sender: str, recipient: str) -> str | None:
        """The reply that refuses this recipient; None where it is accepted.

        ``client``: its address. ``sender``, ``recipient``: of the envelope.
        """
        domain, address = recipient.rpartition("@")[2].lower(), ip_address(client)
        if domain in self._dnsbl and await self._listed(address, self._dnsbl[domain]):
            zone = self._dnsbl[domain]
            return f"554 5.7.1 Service unavailable; client host [{client}] blocked using {zone}"
        return self._too_early(address, sender, recipient, self._greylist[domain]) if domain in self._greylist else None

    async def _listed(self, address: IPv4Address | IPv6Address, zone: str) -> bool:
        try:
            return bool(await addresses(self._host, f"{reversed_name(address)}.{zone}", 4))
        except DnsFailure:  # not listed; or no answer, and then the mail is accepted
            return False

    def _too_early(self, address: IPv4Address | IPv6Address, sender: str, recipient: str, seconds: float) -> str | None:
        network = ip_network((address, PREFIX[address.version]), strict=False)
        now = asyncio.get_running_loop().time()
        waited = now - self._first_seen.setdefault((network, sender.lower(), recipient.lower()), now)
        return f"450 4.7.1 <{recipient}>: greylisted, try again in {seconds:g} s" if waited < seconds else None


def reversed_name(address: IPv4Address | IPv6Address) -> str:
    """An address in the form of blocklist queries (RFC 5782 section 2.1): ``25.2.0.192``."""
    return address.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")


def _lowered(by_domain: Mapping[str, Any] | None) -> dict[str, Any]:
    return {domain.lower(): value for domain, value in (by_domain or {}).items()}
