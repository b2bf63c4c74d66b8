"""Types of IP versions, addresses, networks and interfaces that several folders share."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal

IpVersion = Literal[4, 6]
"""``IpVersion | None`` where the client may choose: it takes the addresses in the resolver's order."""

IPAddress = IPv4Address | IPv6Address

IPInterface = IPv4Interface | IPv6Interface

IPNetwork = IPv4Network | IPv6Network
