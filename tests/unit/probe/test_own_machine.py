"""What the own machine says of itself."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from port25lab.probe import own_machine
from port25lab.probe.dial import dial, drop
from port25lab.probe.resolver import is_public, misleads

TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:0019 0A01A8C0:E674 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 0 0 10 -1
   2: 0A01A8C0:E674 190002C0:0019 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 0 0 10 -1
 broken line
"""

SIX = """  sl  local_address                         remote_address                        st
   0: 0000000000000000FFFF00000100007F:0BD6 0000000000000000FFFF00000A01A8C0:E674 01 00000000:00000000
"""

TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 192.168.1.10
        /32 host LOCAL
     |-- 192.168.1.255
        /32 link BROADCAST
"""


@pytest.mark.skipif(sys.byteorder == "big", reason="the tables are those of a little-endian machine")
def test_the_other_end_of_a_redirected_connection_is_found() -> None:
    found = list(own_machine.parse_sockets(TABLE))
    assert [one.local_port for one in found] == [25, 25, 0xE674]
    assert own_machine.other_end(found, "192.168.1.10", 0xE674, ["192.168.1.10"])
    assert not own_machine.other_end(found[2:], "192.168.1.10", 0xE674, ["192.168.1.10"])
    assert not own_machine.other_end(found, "192.168.1.10", 1000, ["192.168.1.10"])
    assert own_machine.listening(found, (25, 587)) == (25,)
    assert own_machine.other_end(own_machine.parse_sockets(SIX), "192.168.1.10", 0xE674, [])


def test_own_addresses_are_those_of_the_local_table() -> None:
    assert list(own_machine.parse_fib_trie(TRIE)) == ["127.0.0.1", "192.168.1.10"]


def test_names_in_the_hosts_file(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("127.0.1.1 mail.example.com mail # the Debian way\n::1 localhost\n# 10.0.0.1 mail.example.com\n")
    assert own_machine.in_hosts_file("MAIL.example.com", file) == ("127.0.1.1",)
    assert own_machine.in_hosts_file("other.example.com", file) == ()
    assert own_machine.in_hosts_file("mail.example.com", tmp_path / "none") == ()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("0.0.0.0", "nowhere"),
        ("::", "nowhere"),
        ("127.0.1.1", "here"),
        ("::1", "here"),
        ("198.51.100.9", "here"),
        ("10.0.0.1", "private"),
        ("fd00::1", "private"),
        ("fe80::1%lo", "private"),
        ("192.0.2.1", None),
        ("100.64.0.1", None),
        ("2001:db8::1", None),
    ],
)
def test_addresses_that_no_public_server_has(address: str, why: str | None) -> None:
    assert misleads(address, ["198.51.100.9"]) == why


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("mx.example.net", True),
        ("mail", False),
        ("printer.local", False),
        ("nas.home.arpa", False),
        ("192.0.2.1", False),
    ],
)
def test_public_names(name: str, public: bool) -> None:
    assert is_public(name) is public


def test_the_kernels_own_tables_are_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        found = own_machine.sockets()
        assert found is not None
        assert own_machine.other_end(found, *client.getsockname(), [])
        assert server.getsockname()[1] in own_machine.listening(found, [server.getsockname()[1]])
    before = own_machine.loopback_packets()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"", ("127.0.0.1", 9))
    after = own_machine.loopback_packets()
    assert before is not None and after is not None and after > before
    assert all(isinstance(own_machine.discarded_packets(version), int) for version in (4, 6))


def test_a_server_that_resets_at_once_was_connected_to() -> None:
    """Whether the reset comes before or after the client looks, it is a connection, and never a refusal."""

    async def once(port: int) -> tuple[bool, str | None]:
        dialled = await dial("127.0.0.1", port, 2.0)
        if dialled.sock is not None:
            drop(dialled.sock)
        return dialled.taken, dialled.error

    program = Path(__file__).parents[2] / "lab" / "support" / "resetter.py"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(program), str(port)])
    try:
        while asyncio.run(once(port))[1] == "ECONNREFUSED":
            assert process.poll() is None
        assert {asyncio.run(once(port))[0] for _ in range(20)} == {True}
    finally:
        os.kill(process.pid, 9)
        process.wait()
