"""A user's function that makes packets, called without a lab."""

from __future__ import annotations

import pytest

from port25lab.attempt.packet_function import _packets, _words
from port25lab.kernel.headers import fixed_header, tcp_header
from port25lab.model.packet_spec import PacketSpec
from port25lab.model.path import PacketFunction

SPEC = PacketSpec(4, "192.0.2.1", "198.51.100.1", 20000, 25, 4711, 0x01020304)

HEAD = """\
from scapy.all import IP, IPv6, TCP, UDP, Ether, fragment
def packets(p):
"""


def made(body: str, spec: PacketSpec = SPEC) -> list[bytes]:
    return _packets(PacketFunction(file="odd.py", name="packets", text=f"{HEAD}    {body}\n"), spec)


def test_numbers_that_the_function_leaves_unset_are_those_by_which_the_packet_is_known() -> None:
    [packet] = made("return IP(src=p.source, dst=p.destination) / TCP(sport=p.source_port, dport=p.port, window=0)")
    ip, tcp = fixed_header(packet), tcp_header(packet[20:])
    assert ip is not None
    assert tcp is not None
    assert (ip.number, tcp.sequence, tcp.destination_port) == (4711, 0x01020304, 25)


def test_fragments_a_generator_and_bytes_are_packets() -> None:
    assert len(made("return fragment(IP(id=p.number, dst='192.0.2.9') / UDP() / bytes(64), fragsize=16)")) == 5
    assert len(made("yield IP(dst='192.0.2.9') / UDP()\n    yield IP(dst='192.0.2.9') / UDP()")) == 2
    assert len(made("return bytes(IP(dst='192.0.2.9', id=p.number) / UDP())")) == 1
    assert len(made("return IPv6(dst='2001:db8::1') / UDP()")) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return []", "returned no packet"),
        ("return None", "NoneType is no packet"),
        ("return 'SYN'", "str is no packet"),
        ("return Ether() / IP() / TCP()", "without a link layer"),
        ("return b'GET / HTTP/1.1'", "begins with an IPv4 or IPv6 header"),
        ("return IP() / TCP(seq=1)", "its seq is not p.sequence"),
        ("return IP(id=1) / UDP()", "its id is not p.number"),
        ("return IPv6(fl=1) / UDP()", "its fl is not p.number"),
        ("return (IP() / UDP() for _ in iter(int, 1))", "more than 1000 packets"),
        ("return 1 / 0", "odd.py:3: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "odd.py:3: SystemExit: 3"),
    ],
)
def test_what_is_no_packet_is_an_error_that_names_the_file(body: str, said: str) -> None:
    function = PacketFunction(file="odd.py", name="packets", text=f"{HEAD}    {body}\n")
    with pytest.raises(BaseException) as caught:
        _packets(function, SPEC)
    words = _words(caught.value, function)
    assert words.startswith("odd.py")
    assert said in words
