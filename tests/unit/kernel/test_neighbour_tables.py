"""The kernel's tables of neighbours: their limit, and how often they were full."""

from __future__ import annotations

import struct

import pytest

from port25lab.kernel import neighbour_tables
from port25lab.kernel.neighbour_tables import NeighbourTables, Tables
from port25lab.kernel.netlink import attribute


def listed(kind: int, *attributes: bytes) -> bytes:
    body = struct.pack("=Bxxx", 2) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 0, 0) + body


def table(limit: int, overflows: int) -> bytes:
    statistics = struct.pack("=11Q", *range(10), overflows)
    return listed(64, attribute(1, b"arp_cache\0"), attribute(4, struct.pack("=I", limit)), attribute(7, statistics))


class Kernel:
    """Answers in pieces."""

    def __init__(self, *answers: bytes) -> None:
        self.answers, self.sent = list(answers), list[bytes]()

    def bind(self, address: tuple[int, int]) -> None:
        pass

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def recv(self, size: int) -> bytes:
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("answers", "tables"),
    [
        ((table(4096, 3) + listed(64, attribute(1, b"arp_cache\0")), table(1024, 4), listed(3)), Tables(1024, 7)),
        ((listed(2),), Tables(None, 0)),
    ],
    ids=["both", "refused"],
)
def test_the_smaller_limit_and_all_overflows_count(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[bytes, ...], tables: Tables
) -> None:
    kernel = Kernel(*answers)
    monkeypatch.setattr(neighbour_tables.socket, "socket", lambda *_: kernel)
    assert NeighbourTables().read() == tables
    assert struct.unpack_from("=IHH", kernel.sent[0]) == (20, 66, 0x301)
    assert kernel.answers == []


def test_the_kernel_of_this_machine_tells_its_limit() -> None:
    tables = NeighbourTables()
    found = tables.read()
    tables.close()
    assert found.limit
    assert found.overflows >= 0
