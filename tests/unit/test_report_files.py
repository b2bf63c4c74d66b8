"""Result files: refused before the run if they cannot be written, and never half written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from port25lab.errors import InputError
from port25lab.report.files import require_writable, write


def test_a_file_is_written_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    write(tmp_path / "out.json", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out.json", b"new")]


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "out.json", b"new")
        assert os.umask(0o027) == 0o027  # unchanged
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.json").stat().st_mode) == 0o640


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_bytes(b"old")
    file.chmod(0o604)
    write(file, b"new")
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o604


def test_who_reads_the_old_file_goes_on_reading_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_bytes(b"old")
    with file.open("rb") as reader:
        write(file, b"new")
        assert reader.read() == b"old"


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "out.json"
    file.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        write(file, b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out.json", b"old")]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(fifo, b"new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "said"),
    [(".", "is a folder; the name of a file to write"), ("no/such/out.json", "no/such does not exist")],
)
def test_what_cannot_be_written_is_refused_before_the_run(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        require_writable(tmp_path / name)
    assert str(caught.value).endswith(said)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_permission_is_refused_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(InputError, match=f"no permission to write in {tmp_path}"):
        require_writable(tmp_path / "out.json")
