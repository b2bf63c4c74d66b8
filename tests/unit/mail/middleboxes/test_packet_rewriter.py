"""Packets altered in place: of the same length, with checksums that a receiver takes."""

import struct
from ipaddress import ip_address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from port25lab.mail.middleboxes.packet_rewriter import MOST_FLOWS, Inline
from port25lab.mail.middleboxes.smtp_inspection import SmtpFixup

ENDS = {4: ("198.51.100.7", "192.0.2.25"), 6: ("2001:db8:110::7", "2001:db8:25::25")}
OPTIONS = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]


def inline() -> Inline:
    return Inline(lambda: SmtpFixup(same_length=True))


def segment(version: int, payload: bytes = b"", *, flags: str = "PA", seq: int = 1, back: bool = False) -> bytes:
    client, server = ENDS[version]
    source, destination = (server, client) if back else (client, server)
    network = (IPv6 if version == 6 else IP)(src=source, dst=destination)
    ports = {"sport": 25, "dport": 20000} if back else {"sport": 20000, "dport": 25}
    return bytes(network / TCP(**ports, flags=flags, seq=seq, options=OPTIONS) / Raw(payload))


def checks(packet: bytes) -> bool:
    """Whether the one's complement sum over pseudo header and segment is right (RFC 9293 section 3.1)."""
    if packet[0] >> 4 == 4:
        addresses, body = packet[12:20], packet[(packet[0] & 15) * 4 :]
    else:
        addresses, body = packet[8:40], packet[40:]
    text = addresses + struct.pack(">HH", 6, len(body)) + body + b"\0" * (len(body) % 2)
    total = sum(struct.unpack(f">{len(text) // 2}H", text))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("words", [b"220 mx.example.net ESMTP\r\n", b"220 mx.example.net ESMTP!\r\n"])
def test_a_banner_is_masked_in_place(version: int, words: bytes) -> None:
    box = inline()
    assert box.rewrite(segment(version, flags="S", seq=0)) is None
    before = segment(version, words, seq=9, back=True)
    after = box.rewrite(before)
    assert after is not None
    assert len(after) == len(before)
    assert after.endswith(b"220 " + b"*" * (len(words) - 6) + b"\r\n")
    assert checks(before)
    assert checks(after)
    # Nothing but the words and the checksum of TCP is another.
    tcp = len(before) - len(words) - 32
    unlike = {at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other}
    assert unlike <= {tcp + 16, tcp + 17, *range(len(before) - len(words), len(before))}


def test_what_is_not_altered_passes_as_it_is() -> None:
    box = inline()
    box.rewrite(segment(4, flags="S", seq=0))
    box.rewrite(segment(4, b"220 x\r\n", back=True))
    assert box.rewrite(segment(4, b"EHLO pc.example\r\n")) is None
    assert box.rewrite(segment(4, flags="A")) is None


def test_a_retransmission_is_altered_as_the_original_was() -> None:
    box = inline()
    box.rewrite(segment(4, flags="S", seq=0))
    banner = segment(4, b"220 x\r\n", seq=1, back=True)
    masked = box.rewrite(banner)
    assert box.rewrite(segment(4, b"DATA\r\n", seq=1)) is None
    assert box.rewrite(segment(4, b"354 go\r\n", seq=8, back=True)) is None
    assert box.rewrite(segment(4, b"STARTTLS\r\n.\r\n", seq=7)) is None
    assert box.rewrite(banner) == masked
    assert box.rewrite(segment(4, b"STARTTLS\r\n.\r\n", seq=7)) is None
    altered = box.rewrite(segment(4, b"STARTTLS\r\n", seq=20))
    assert altered is not None
    assert altered.endswith(b"XXXXXXXX\r\n")


def test_a_session_that_was_open_before_passes_as_it_is() -> None:
    assert inline().rewrite(segment(4, b"220 mx.example.net\r\n", back=True)) is None


def test_what_is_no_tcp_passes_as_it_is() -> None:
    client, server = ENDS[4]
    fragment = bytes(IP(src=client, dst=server, frag=3, proto=6) / Raw(b"STARTTLS\r\n"))
    udp = bytes(IP(src=client, dst=server) / UDP(dport=25) / Raw(b"STARTTLS\r\n"))
    for packet in (b"", b"\x45", fragment, udp, bytes(IP() / ICMP())):
        assert inline().rewrite(packet) is None


def test_sessions_are_forgotten_when_they_are_reset_or_too_many() -> None:
    box = inline()
    box.rewrite(segment(4, flags="S"))
    box.rewrite(segment(4, flags="R", back=True))
    assert not box._flows
    for number in range(MOST_FLOWS + 10):
        source = str(ip_address("198.51.100.0") + number)
        box.rewrite(bytes(IP(src=source, dst="192.0.2.25") / TCP(sport=20000, dport=25, flags="S")))
    assert len(box._flows) == MOST_FLOWS
