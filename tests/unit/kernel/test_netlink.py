"""Netlink requests, byte by byte: what goes out is what rtnetlink(7) asks for, and reads back the same."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from port25lab.kernel import netlink


def body(message: bytes, kind: int, flags: int, head: int) -> tuple[bytes, dict[int, bytes]]:
    """The fixed head of a message and its attributes, after a look at its kind and flags."""
    assert struct.unpack_from("=HH", message) == (kind, flags)
    return message[4 : 4 + head], dict(netlink.attributes(message, 4 + head))


REQUEST_ACK, CREATE_EXCL, CREATE_REPLACE = 0x5, 0x600, 0x500
NEWLINK, NEWADDR, NEWROUTE = 16, 20, 24
INDEX, UP, ALL = "=4xi", 0x1, 0xFFFFFFFF


# -- attributes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"1", b"12", b"123", b"1234", b"12345", b"x" * 255])
def test_an_attribute_is_padded_to_four_bytes_and_read_back_without_its_padding(payload: bytes) -> None:
    encoded = netlink.attribute(3, payload)
    assert len(encoded) % 4 == 0
    assert struct.unpack_from("=HH", encoded) == (4 + len(payload), 3)
    assert list(netlink.attributes(encoded + netlink.attribute(7, b"next"))) == [(3, payload), (7, b"next")]


def test_the_flags_for_nesting_and_byte_order_are_no_part_of_a_kind() -> None:
    assert list(netlink.attributes(netlink.attribute(18 | 0x8000, b"abcd"))) == [(18, b"abcd")]
    assert list(netlink.attributes(netlink.attribute(18 | 0x4000, b"abcd"))) == [(18, b"abcd")]


def test_attributes_can_start_behind_a_head() -> None:
    assert list(netlink.attributes(b"head" + netlink.attribute(1, b"abcd"), 4)) == [(1, b"abcd")]


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0", b"\0\0\0\0", b"\x03\0\x01\0rest"])
def test_bytes_that_are_no_attribute_end_the_reading(data: bytes) -> None:
    assert list(netlink.attributes(data)) == []


# -- requests ---------------------------------------------------------------------------------------------------------


def test_a_veth_pair_has_both_ends_where_they_belong_and_down() -> None:
    message = netlink.veth("home-eth0", 11, 5, "edge-eth1", 12, 6)
    head, values = body(message, NEWLINK, REQUEST_ACK | CREATE_EXCL, 16)
    assert struct.unpack(INDEX, head[:8]) == (11,)
    assert head[8:] == bytes(8)
    assert values[3] == b"home-eth0\0"
    assert struct.unpack("=I", values[28]) == (5,)
    info = dict(netlink.attributes(values[18]))
    assert info[1] == b"veth\0"
    peer = dict(netlink.attributes(info[2]))[1]
    assert struct.unpack(INDEX, peer[:8]) == (12,)
    assert dict(netlink.attributes(peer, 16)) == {3: b"edge-eth1\0", 28: struct.pack("=I", 6)}


def test_both_ends_of_a_pair_have_the_mac_addresses_that_they_are_given() -> None:
    macs = bytes.fromhex("020000010002"), bytes.fromhex("020000020003")
    _, values = body(netlink.veth("one", 2, 5, "two", 3, 6, macs), NEWLINK, REQUEST_ACK | CREATE_EXCL, 16)
    peer = dict(netlink.attributes(dict(netlink.attributes(values[18]))[2]))[1]
    assert (values[1], dict(netlink.attributes(peer, 16))[1]) == macs
    _, values = body(netlink.bridge("lan", 20, macs[0]), NEWLINK, REQUEST_ACK | CREATE_EXCL, 16)
    assert values[1] == macs[0]


@pytest.mark.parametrize(("ip", "family"), [("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6)])
def test_a_neighbour_is_permanent(ip: str, family: int) -> None:
    mac = bytes.fromhex("020000010002")
    head, values = body(netlink.neighbour(7, ip_address(ip), mac), 28, REQUEST_ACK | CREATE_REPLACE, 12)
    assert struct.unpack("=BxxxiHBB", head) == (family, 7, 0x80, 0, 0)
    assert values == {1: ip_address(ip).packed, 2: mac}


@pytest.mark.parametrize(
    ("version", "family", "table"), [(4, socket.AF_INET, b"arp_cache\0"), (6, socket.AF_INET6, b"ndisc_cache\0")]
)
def test_how_an_interface_resolves_its_neighbours_is_set_in_milliseconds(
    version: int, family: int, table: bytes
) -> None:
    head, values = body(netlink.resolution(7, version, 250, 90_000), 67, REQUEST_ACK, 4)
    assert head == bytes([family, 0, 0, 0])
    assert values[1] == table
    parameters = dict(netlink.attributes(values[6]))
    assert parameters.pop(1) == struct.pack("=I", 7)
    assert {kind: struct.unpack("=Q", value)[0] for kind, value in parameters.items()} == {
        5: 250, 4: 90_000, 6: 90_000, 7: 90_000
    }  # fmt: skip


def test_a_bridge_is_created_up() -> None:
    head, values = body(netlink.bridge("lan", 20), NEWLINK, REQUEST_ACK | CREATE_EXCL, 16)
    assert struct.unpack("=4xiII", head) == (20, UP, UP)
    assert values[3] == b"lan\0"
    assert dict(netlink.attributes(values[18])) == {1: b"bridge\0"}


def test_a_port_gets_its_bridge_as_master() -> None:
    head, values = body(netlink.enslave(11, 20), NEWLINK, REQUEST_ACK, 16)
    assert struct.unpack("=4xiII", head) == (11, 0, 0)
    assert values == {10: struct.pack("=I", 20)}


def test_an_interface_is_set_up_and_nothing_else_of_it_changes() -> None:
    head, values = body(netlink.up(11), NEWLINK, REQUEST_ACK, 16)
    assert struct.unpack("=4xiII", head) == (11, UP, UP)
    assert values == {}


@pytest.mark.parametrize(
    ("interface", "family", "flags"),
    [("198.51.100.7/24", socket.AF_INET, 0), ("2001:db8::7/64", socket.AF_INET6, 0x02)],
)
def test_an_address_is_usable_at_once(interface: str, family: int, flags: int) -> None:
    wanted = ip_interface(interface)
    head, values = body(netlink.address(11, wanted), NEWADDR, REQUEST_ACK | CREATE_REPLACE, 8)
    assert struct.unpack("=BBBBI", head) == (family, wanted.network.prefixlen, flags, 0, 11)
    assert values == {1: wanted.ip.packed, 2: wanted.ip.packed}


@pytest.mark.parametrize(
    ("to", "via", "family", "length"),
    [
        ("203.0.113.0/24", "198.51.100.1", socket.AF_INET, 24),
        ("2001:db8:113::/48", "2001:db8::1", socket.AF_INET6, 48),
    ],
)
def test_a_route_has_a_destination_and_a_gateway(to: str, via: str, family: int, length: int) -> None:
    message = netlink.route(ip_network(to), ip_address(via))
    head, values = body(message, NEWROUTE, REQUEST_ACK | CREATE_REPLACE, 12)
    assert struct.unpack("=BBBBBBBBI", head) == (family, length, 0, 0, 254, 4, 0, 1, 0)
    assert values == {1: ip_network(to).network_address.packed, 5: ip_address(via).packed}


def test_a_default_route_has_no_destination() -> None:
    head, values = body(
        netlink.route(ip_network("::/0"), ip_address("2001:db8::1")), NEWROUTE, REQUEST_ACK | CREATE_REPLACE, 12
    )
    assert head[1] == 0
    assert list(values) == [5]


def test_a_route_without_a_gateway_is_a_blackhole() -> None:
    head, values = body(netlink.route(ip_network("10.0.0.0/8"), None), NEWROUTE, REQUEST_ACK | CREATE_REPLACE, 12)
    assert head[7] == 6
    assert values == {1: bytes([10, 0, 0, 0])}


# -- sending ----------------------------------------------------------------------------------------------------------


class Kernel:
    """Answers each request with an acknowledgement, and some with an error."""

    def __init__(self, refused: dict[int, int] | None = None) -> None:
        self.refused = refused or {}
        self.sent: list[list[bytes]] = []
        self.lists: list[bytes] = []
        """What it answers to a request that asks for a list."""
        self._answers: list[bytes] = []

    def bind(self, address: tuple[int, int]) -> None:
        pass

    def close(self) -> None:
        pass

    def send(self, data: bytes) -> None:
        requests = list(_split(data))
        self.sent.append(requests)
        if self.lists:
            self._answers, self.lists = self.lists, []
            return
        done = sum(len(batch) for batch in self.sent[:-1])
        answers = b""
        for number, request in enumerate(requests):
            own = struct.unpack_from("=I", request, 8)[0]
            code = -self.refused.get(done + number, 0)
            answers += struct.pack("=IHHIIi", 36, 2, 0, own, 0, code) + request[:16]
        self._answers = [answers[:72], answers[72:]] if len(answers) > 72 else [answers]

    def recv(self, size: int) -> bytes:
        return self._answers.pop(0)


def _split(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        length = struct.unpack_from("=I", data, start)[0]
        yield data[start : start + length]
        start += (length + 3) & ~3


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(netlink.socket, "socket", lambda *_: kernel)
    return kernel


def test_requests_go_out_in_batches_and_each_is_acknowledged(kernel: Kernel) -> None:
    requests = [(f"up {index}", netlink.up(index)) for index in range(1, 71)]
    with netlink.Rtnetlink() as route:
        route.send(requests)
    assert [len(batch) for batch in kernel.sent] == [32, 32, 6]
    sent = [request for batch in kernel.sent for request in batch]
    for (_, message), request in zip(requests, sent, strict=True):
        length, kind, flags, _, _ = struct.unpack_from("=IHHII", request)
        assert (length, struct.pack("=HH", kind, flags) + request[16:]) == (len(request), message)


def test_a_refused_request_is_named_with_the_kernels_own_error(kernel: Kernel) -> None:
    kernel.refused = {40: errno.EEXIST}
    requests = [(f"link h{index}", netlink.up(index)) for index in range(50)]
    with netlink.Rtnetlink() as route, pytest.raises(OSError, match=r"File exists \(EEXIST\): link h40$") as caught:
        route.send(requests)
    assert caught.value.errno == errno.EEXIST


def entry(index: int, ip: str, state: int) -> bytes:
    """A neighbour as the kernel lists it."""
    address = ip_address(ip)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    listed = struct.pack("=BxxxiHBB", family, index, state, 0, 1) + netlink.attribute(1, address.packed)
    return struct.pack("=IHHII", 16 + len(listed), 28, 2, 0, 0) + listed


@pytest.mark.parametrize("refused", [0, errno.ENOENT])
def test_only_neighbours_that_were_resolved_are_forgotten(kernel: Kernel, refused: int) -> None:
    permanent, multicast, reachable, stale, failed = 0x80, 0x40, 0x02, 0x04, 0x20
    first = entry(2, "192.0.2.1", permanent) + entry(2, "ff02::1", multicast) + entry(2, "192.0.2.2", reachable)
    second = entry(3, "2001:db8::1", failed) + entry(3, "fe80::1", stale) + struct.pack("=IHHIIi", 20, 3, 2, 0, 0, 0)
    kernel.lists, kernel.refused = [first, second], {1: refused, 2: refused, 3: refused}
    with netlink.Rtnetlink() as route:
        route.forget_neighbours()
    [asked], deletions = kernel.sent
    assert struct.unpack_from("=IHH", asked) == (28, 30, 0x301)
    found = []
    for request in deletions:
        _, kind, flags, _, _ = struct.unpack_from("=IHHII", request)
        family, index = struct.unpack_from("=Bxxxi", request, 16)
        address = ip_address(dict(netlink.attributes(request, 28))[1])
        assert (kind, flags, family) == (29, REQUEST_ACK, socket.AF_INET if address.version == 4 else socket.AF_INET6)
        found.append((index, str(address)))
    assert found == [(2, "192.0.2.2"), (3, "2001:db8::1"), (3, "fe80::1")]


def test_another_error_than_that_a_neighbour_is_gone_is_one(kernel: Kernel) -> None:
    kernel.lists, kernel.refused = (
        [entry(2, "192.0.2.2", 2) + struct.pack("=IHHIIi", 20, 3, 2, 0, 0, 0)],
        {1: errno.EPERM},
    )
    with netlink.Rtnetlink() as route, pytest.raises(PermissionError, match=r"neighbour 192\.0\.2\.2"):
        route.forget_neighbours()


def test_messages_of_one_receive_are_told_apart() -> None:
    first = struct.pack("=IHHII", 16 + 5, 2, 0, 7, 0) + b"hello" + b"\0" * 3  # padded to four bytes
    second = struct.pack("=IHHII", 16, 3, 0, 8, 0)
    assert list(netlink.messages(first + second)) == [(2, 7, b"hello"), (3, 8, b"")]


@pytest.mark.parametrize(
    "data", [b"", b"\x10", struct.pack("=IHHII", 0, 2, 0, 7, 0), struct.pack("=I", 15) + bytes(40)]
)
def test_what_is_no_message_ends_the_reading(data: bytes) -> None:
    assert list(netlink.messages(data)) == []
