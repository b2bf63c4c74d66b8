"""Programs in a node: what they say is kept in bounded memory."""

import asyncio
import sys

import pytest

from port25lab.errors import LabError
from port25lab.network import host


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


def test_source_ports_that_run_out_are_named() -> None:
    one = host.LabHost.__new__(host.LabHost)
    one._ports = iter(range(20000, 20003))
    assert one.source_ports(2) == range(20000, 20002)
    with pytest.raises(LabError, match="all 30000 source ports of this lab are used"):
        one.source_ports(2)
