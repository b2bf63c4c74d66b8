"""The first difference between what a middlebox is told and what it says on, in words."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import ip_address

import pytest

from port25lab.evidence.deciding_packets import Sighting
from port25lab.evidence.divergence import first_difference
from port25lab.kernel.headers import parse_ip

CLIENT, SERVER, BOX = ("198.51.100.7", 20_000), ("192.0.2.25", 25), ("198.51.100.1", 20_000)
End = tuple[str, int]

GREETING = b"220 mx.example.net ESMTP\r\n"
OFFER = b"250-mx.example.net\r\n250-STARTTLS\r\n250 SIZE\r\n"
MASKED = OFFER.replace(b"STARTTLS", b"XXXXXXXA")


def segment(source: End, destination: End, flags: int, sequence: int, payload: bytes = b"") -> bytes:
    addresses = ip_address(source[0]).packed + ip_address(destination[0]).packed
    head = struct.pack(">BBHHHBBH", 0x45, 0, 40 + len(payload), 1, 0, 64, 6, 0) + addresses
    tcp = struct.pack(">HHIIBBHHH", source[1], destination[1], sequence % 2**32, 1, 0x50, flags, 1, 0, 0)
    return head + tcp + payload


class Box:
    """A node that a session passes; ``proxy``: by two connections."""

    def __init__(self, *, proxy: bool = False, first: int = 100) -> None:
        self.seen: list[Sighting] = []
        self.ours = (CLIENT, SERVER, first, 500)
        self.theirs = (BOX, SERVER, 7000, 9000) if proxy else self.ours
        for interface, leaving, (source, destination, sequence, answer) in (
            ("access0", False, self.ours),
            ("core0", True, self.theirs),
        ):
            self._note(interface, leaving, segment(source, destination, 0x02, sequence))
            self._note(interface, not leaving, segment(destination, source, 0x12, answer))

    def server(self, interface: str, offset: int, payload: bytes) -> Box:
        client, server, _, first = self.theirs if interface == "core0" else self.ours
        self._note(interface, interface != "core0", segment(server, client, 0x18, first + 1 + offset, payload))
        return self

    def client(self, interface: str, offset: int, payload: bytes) -> Box:
        client, server, first, _ = self.theirs if interface == "core0" else self.ours
        self._note(interface, interface == "core0", segment(client, server, 0x18, first + 1 + offset, payload))
        return self

    def _note(self, interface: str, leaving: bool, data: bytes) -> None:
        packet = parse_ip(data)
        assert packet
        number = len(self.seen) + 1
        self.seen.append(Sighting(number, "edge", interface, leaving, packet, data, number))

    def passes_on(self, payloads: Iterable[bytes]) -> Box:
        """The server's words, unchanged."""
        offset = 0
        for payload in payloads:
            self.server("core0", offset, payload).server("access0", offset, payload)
            offset += len(payload)
        return self


@pytest.mark.parametrize("proxy", [False, True])
def test_a_masked_keyword_is_told_with_its_line_offset_and_packets(proxy: bool) -> None:
    box = Box(proxy=proxy).passes_on([GREETING])
    box.server("core0", len(GREETING), OFFER).server("access0", len(GREETING), MASKED)
    assert str(first_difference(box.seen)) == (
        f'client side: "250-XXXXXXXA", server side: "250-STARTTLS" '
        f"(server to client, byte {len(GREETING) + OFFER.index(b'STARTTLS')}, packets 8 and 7)"
    )


def test_the_earlier_difference_is_told_of_the_two_directions() -> None:
    box = Box(proxy=True).client("access0", 0, b"EHLO a\r\n").client("core0", 0, b"EHLO b\r\n")
    box.server("core0", 0, OFFER).server("access0", 0, MASKED)
    assert str(first_difference(box.seen)).startswith(
        'client side: "EHLO a", server side: "EHLO b" (client to server, byte 5'
    )


def test_what_is_passed_on_unchanged_does_not_differ() -> None:
    assert first_difference(Box().passes_on([GREETING, OFFER]).seen) is None
    assert first_difference(Box(proxy=True).passes_on([GREETING, OFFER]).seen) is None


def test_segments_of_another_size_and_order_do_not_differ() -> None:
    box = Box(proxy=True).server("core0", 0, GREETING + OFFER)
    box.server("access0", 10, (GREETING + OFFER)[10:]).server("access0", 0, GREETING[:15]).server(
        "access0", 0, GREETING
    )
    assert first_difference(box.seen) is None


def test_sequence_numbers_that_wrap_do_not_differ() -> None:
    box = Box(first=2**32 - 3)
    for interface in ("access0", "core0"):
        box.client(interface, 0, b"EHLO").client(interface, 4, b" mail.example\r\n")
    assert first_difference(box.seen) is None


def test_words_that_never_came_out_are_told() -> None:
    box = Box(proxy=True).client("access0", 0, b"EHLO a\r\nXCLIENT NAME=a\r\n").client("core0", 0, b"EHLO a\r\n")
    assert str(first_difference(box.seen)) == (
        'client side: "XCLIENT NAME=a", server side: nothing more (client to server, byte 8, packets 5)'
    )


@pytest.mark.parametrize("farewell", [b"QUIT\r\n", b"quit\r\n"])
def test_a_farewell_may_be_lost(farewell: bytes) -> None:
    box = Box(proxy=True).client("access0", 0, b"EHLO a\r\n" + farewell).client("core0", 0, b"EHLO a\r\n")
    assert first_difference(box.seen) is None


def test_binary_is_told_in_hexadecimal() -> None:
    box = Box(proxy=True).client("access0", 0, b"\x16\x03\x01\x02").client("core0", 0, b"\x16\x03\x03\x02")
    assert "bytes 01 02, server side: bytes 03 02" in str(first_difference(box.seen))


def test_hostile_lines_are_cut_and_harmless() -> None:
    box = Box().server("core0", 0, b"250 \x1b[2J" + b"x" * 9000).server("access0", 0, b"250 " + b"y" * 9000)
    words = str(first_difference(box.seen))
    assert "\x1b" not in words
    assert len(words) < 300


def test_one_side_alone_cannot_differ() -> None:
    box = Box().server("access0", 0, GREETING)
    assert first_difference(seen for seen in box.seen if seen.interface == "access0") is None
    assert first_difference([]) is None


def test_the_facts_of_a_difference_are_fields() -> None:
    box = Box(proxy=True).passes_on([GREETING])
    box.server("core0", len(GREETING), OFFER).server("access0", len(GREETING), MASKED)
    found = first_difference(box.seen)
    assert found is not None
    assert (found.direction, found.offset) == ("server to client", len(GREETING) + OFFER.index(b"STARTTLS"))
    assert (found.client_side.line, found.server_side.line) == ("250-XXXXXXXA", "250-STARTTLS")
    assert found.packets == (8, 7)
