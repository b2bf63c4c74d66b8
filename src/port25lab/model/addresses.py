"""Types of IP addresses, networks and interfaces that several folders share."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

IPAddress = IPv4Address | IPv6Address

IPInterface = IPv4Interface | IPv6Interface

IPNetwork = IPv4Network | IPv6Network
