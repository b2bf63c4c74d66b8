"""Result files: refused before the run if they cannot be written, and never half written."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from port25lab.errors import InputError, Interrupted, OutputError
from port25lab.report.files import is_stdout, require_separate, require_writable, write


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

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
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
    def refused(**_: object) -> None:  # root may write everywhere
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(InputError, match=f"no file can be made in {tmp_path}: Permission denied$"):
        require_writable(tmp_path / "out.json")


def test_a_file_that_is_only_for_reading_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.json").write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match=r"out\.json: cannot be written: no permission$"):
        require_writable(tmp_path / "out.json")


@pytest.mark.parametrize("name", ["x" * 300, "loop", "/proc/no-such-file", "/dev/fd/77", "/proc/self/fd/77"])
def test_odd_names_are_refused_before_the_run_too(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match=f"^{name[:20]}"):
        require_writable(Path(name))
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


def test_a_name_as_long_as_names_can_be_is_written(tmp_path: Path) -> None:
    file = tmp_path / ("x" * 255)
    require_writable(file)
    write(file, b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_a_signal_while_a_file_is_written_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise Interrupted(2)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(Interrupted):
        write(tmp_path / "out.json", b"new")
    assert list(tmp_path.iterdir()) == []


def test_an_open_descriptor_is_written_to_where_it_stands(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb", buffering=0) as log:
        log.write(b"before ")
        named = Path(f"/dev/fd/{log.fileno()}")
        require_writable(named)
        write(named, b"result ")
        log.write(b"after")
    assert (tmp_path / "log").read_bytes() == b"before result after"


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_has_these_names(name: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert is_stdout(Path(name))
    require_writable(Path(name))
    print("before", end=" ")
    write(Path(name), "é".encode())
    assert capsysbinary.readouterr().out == "before é".encode()


def test_a_full_device_is_an_error_with_its_name() -> None:
    require_writable(Path("/dev/full"))
    with pytest.raises(OutputError, match=r"^/dev/full: cannot be written: No space left on device$"):
        write(Path("/dev/full"), b"new")


# -- one file for two things -------------------------------------------------------------------------------------------


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files with several names: the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "hard").hardlink_to("old")
    (tmp_path / "soft").symlink_to("old")
    (tmp_path / "to-new").symlink_to("new")
    (tmp_path / "elsewhere").symlink_to("folder")
    os.mkfifo("fifo")
    return tmp_path


SAME = [
    ("new", "new"),
    ("new", "./new"),
    ("new", "folder/../new"),
    ("new", "ABSOLUTE/new"),
    ("new", "to-new"),
    ("old", "hard"),
    ("old", "soft"),
    ("hard", "soft"),
    ("folder/new", "elsewhere/new"),
    ("fifo", "./fifo"),
    ("not/yet", "folder/../not/yet"),
    ("folder/not/yet", "elsewhere/not/yet"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_a_file_for_two_outputs_is_refused_under_whatever_names(names: Path, one: str, other: str) -> None:
    first, second = Path(one), Path(other.replace("ABSOLUTE", str(names)))
    with pytest.raises(InputError) as caught:
        require_separate({"--json": first, "--junit": second})
    assert str(caught.value) == f"{second}: --junit and --json are the same file; a file of its own for each"


@pytest.mark.parametrize(("one", "other"), SAME)
def test_an_output_onto_an_input_is_refused_under_whatever_names(names: Path, one: str, other: str) -> None:
    with pytest.raises(InputError, match=f"^{one}: --json would overwrite a file that the run reads; another file$"):
        require_separate({"--json": Path(one)}, [Path(other.replace("ABSOLUTE", str(names)))])


def test_different_files_and_devices_that_take_everything_are_fine(names: Path) -> None:
    require_separate({"--json": Path("old"), "--junit": Path("new"), "--pcap": Path("folder")}, [Path("folder/in")])
    require_separate({"--json": Path("/dev/null"), "--junit": Path("/dev/null")})
    require_separate({"--json": Path("-"), "--junit": Path("old")})


def test_standard_output_takes_one_output() -> None:
    with pytest.raises(InputError, match=r"^/dev/stdout: two outputs to standard output; a file for one of them$"):
        require_separate({"--json": Path("-"), "--junit": Path("/dev/stdout")})
