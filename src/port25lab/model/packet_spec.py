"""The header fields by which one hand-made packet is known on its way."""

from __future__ import annotations

from dataclasses import dataclass

from port25lab.model.addresses import IpVersion


@dataclass(frozen=True)
class PacketSpec:
    """What a hand-made packet must have so that it can be followed.

    A user's function that makes packets gets one (docs/scenarios.md, "Packets of your own").
    """

    version: IpVersion
    source: str
    destination: str
    source_port: int
    port: int
    number: int
    """Identification (IPv4) or flow label (IPv6): 1 to 65535, random; no other packet of the lab has it at the time."""
    sequence: int
    """Initial sequence number, or the field that has its place in other protocols: 32 bits, random."""

    @property
    def token(self) -> bytes:
        """The sequence number as bytes of the packet: by it the packet is known at its destination."""
        return self.sequence.to_bytes(4)

    @property
    def acknowledged(self) -> bytes:
        """The number that a SYN-ACK acknowledges, and that an RST in reply has as its own (RFC 9293 3.10.7)."""
        return ((self.sequence + 1) & 0xFFFFFFFF).to_bytes(4)
