"""Programs in a node: what they say is kept in bounded memory. Connections: a proven silence is not waited for."""

import asyncio
import errno
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from port25lab.errors import LabError
from port25lab.network import host
from port25lab.network.silence import SilenceProvenError


async def talked(code: str, stdin: bytes = b"") -> tuple[bytes, bytes, int | None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    stdout, stderr = await host._communicate(process, stdin)
    return stdout, stderr, process.returncode


def test_a_program_hears_and_is_heard() -> None:
    code = "import sys; print(sys.stdin.read()[::-1], end=''); print('so', file=sys.stderr); sys.exit(4)"
    assert asyncio.run(talked(code, b"abc")) == (b"cba", b"so\n", 4)


def test_a_program_that_does_not_listen_is_heard_all_the_same() -> None:
    assert asyncio.run(talked("print('done')", b"x" * 5_000_000)) == (b"done\n", b"", 0)


def test_a_program_that_says_too_much_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "MOST_OUTPUT", 100_000)
    stdout, _, returncode = asyncio.run(talked("while True: print('y' * 99)"))
    assert len(stdout) == 100_000
    assert returncode == -9


class Silence:
    """Says of each SYN in turn where it was dropped for good; None: nothing is known."""

    def __init__(self, places: Sequence[str | None]) -> None:
        self._places = list(places)
        self.watched: list[tuple[str, int]] = []

    def before_connecting(self) -> None: ...

    @contextmanager
    def watch(self, node: str, source_port: int) -> Iterator[asyncio.Future[str]]:
        self.watched.append((node, source_port))
        dropped = asyncio.get_running_loop().create_future()
        if place := self._places.pop(0):
            dropped.set_result(place)
        yield dropped


class Client(host.LabHost):
    """A node whose connections take a moment, and then end with ETIMEDOUT or not."""

    def __init__(self, silence: Silence, connects: bool) -> None:
        self.name, self._silence, self._connects = "pc", silence, connects
        self.open: list[socket.socket] = []

    def dial(self, ip_version: object, source_port: int | None = None) -> socket.socket:
        self.open.append(socket.socket())
        return self.open[-1]

    async def _connected(self, sock: socket.socket, address: str, port: int) -> socket.socket:
        try:
            await asyncio.sleep(0.05)
            if not self._connects:
                raise OSError(errno.ETIMEDOUT, "it waited")
        except BaseException:
            sock.close()
            raise
        return sock


def connected(silence: Silence, *, connects: bool) -> tuple[BaseException | None, Client]:
    client = Client(silence, connects)
    try:
        with asyncio.run(client.connect_or_prove("192.0.2.25", 25, 20001)):
            return None, client
    except OSError as error:
        return error, client


def test_two_syns_that_the_same_rule_drops_are_enough() -> None:
    silence = Silence(["edge 4", "edge 4"])
    error, client = connected(silence, connects=False)
    assert isinstance(error, SilenceProvenError)
    assert error.errno == errno.ETIMEDOUT
    assert silence.watched == [("pc", 20001)] * 2
    assert all(sock.fileno() < 0 for sock in client.open)


@pytest.mark.parametrize("places", [[None], ["edge 4", None], ["edge 4", "edge 5"]])
def test_otherwise_the_wait_goes_on(places: list[str | None]) -> None:
    error, client = connected(Silence(places), connects=False)
    assert str(error).endswith("it waited")
    assert len(client.open) == len(places)
    assert all(sock.fileno() < 0 for sock in client.open)


def test_a_second_syn_that_passes_is_the_connection() -> None:
    error, client = connected(Silence(["edge 4", None]), connects=True)
    assert error is None
    assert client.open[0].fileno() < 0


def test_source_ports_that_run_out_are_named() -> None:
    one = host.LabHost.__new__(host.LabHost)
    one._ports = iter(range(20000, 20003))
    assert one.source_ports(2) == range(20000, 20002)
    with pytest.raises(LabError, match="all 30000 source ports of this lab are used"):
        one.source_ports(2)
