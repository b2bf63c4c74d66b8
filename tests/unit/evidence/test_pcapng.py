"""Capture files, read back: by a small reader that checks every block and option, and by tshark where it is."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from pcapng_reader import blocks
from port25lab.errors import InputError
from port25lab.evidence import pcapng
from port25lab.evidence.capture_folder import LONGEST_NAME, CaptureFolder, comment, safe_name
from port25lab.model.evidence import CaptureSummary

WHEN = 1_790_000_000_123_456_789
SYN = bytes.fromhex("ffffffffffff00000000000008004500002800010000400600000a0000010a000002") + struct.pack(
    ">HHIIBBHHH", 20_000, 25, 1, 0, 0x50, 2, 100, 0, 0
)


def options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while data:
        code, length = struct.unpack_from("<HH", data)
        if code == 0:
            assert data[4:] == b""
            break
        found[code] = data[4 : 4 + length]
        data = data[4 + (length + 3) // 4 * 4 :]
    return found


def whole(text: str = "two paths") -> bytes:
    return b"".join(
        [
            pcapng.section(text, "port25lab"),
            pcapng.names({ip_address("10.0.0.1").packed: "pc", ip_address("2001:db8::1").packed: "mx"}),
            pcapng.interface("isp-edge/access0", "isp-edge, interface access0", 1968),
            pcapng.interface("mx/eth0", "mx, interface eth0", 1968),
            pcapng.packet(0, WHEN, False, SYN, len(SYN), "a/b/S3-é/ipv4"),
            pcapng.packet(1, WHEN + 1, True, SYN[:41], 9000),
            pcapng.loss(1, WHEN + 2, 7, "lost at mx"),
        ]
    )


def test_blocks_and_options_read_back() -> None:
    found = list(blocks(whole()))
    assert [kind for kind, _ in found] == [0x0A0D0D0A, 4, 1, 1, 6, 6, 5]
    assert options(found[0][1][16:]) == {1: b"two paths", 4: b"port25lab"}
    assert options(found[2][1][8:]) == {2: b"isp-edge/access0", 3: b"isp-edge, interface access0", 9: b"\x09"}
    interface, high, low, kept, length = struct.unpack_from("<5I", found[4][1])
    assert (interface, high << 32 | low, kept, length) == (0, WHEN, len(SYN), len(SYN))
    assert found[4][1][20 : 20 + kept] == SYN
    padded = 20 + (kept + 3) // 4 * 4
    assert options(found[4][1][padded:]) == {1: "a/b/S3-é/ipv4".encode(), 2: b"\1\0\0\0"}
    assert struct.unpack_from("<II", found[5][1], 12) == (41, 9000)
    assert options(found[5][1][20 + 44 :]) == {2: b"\2\0\0\0"}
    assert options(found[6][1][12:]) == {1: b"lost at mx", 5: struct.pack("<Q", 7)}


def test_a_comment_that_is_too_long_is_cut_between_characters() -> None:
    _, body = next(iter(blocks(pcapng.section("é" * 70_000, "x" * 3))))
    text = options(body[16:])[1].decode()
    assert text.endswith("é...")
    assert len(text.encode()) <= pcapng.LONGEST_COMMENT + 3


def test_a_lone_surrogate_does_no_harm() -> None:
    assert b"\\udcff" in pcapng.section("\udcff", "x")


@pytest.mark.parametrize("data", [b"\0", whole()[:-1], whole()[:-1] + b"x", b"\x0a\x0d\x0d\x0a\x05\0\0\0" + bytes(20)])
def test_a_broken_file_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|not a pcapng block"):
        list(blocks(data))


@pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark on this machine")
def test_tshark_reads_the_same(tmp_path: Path) -> None:
    file = tmp_path / "x.pcapng"
    file.write_bytes(whole())
    fields = ["frame.interface_name", "frame.interface_description", "frame.comment", "frame.time_epoch", "tcp.srcport"]
    argv = ["tshark", "-r", str(file), "-T", "json", *(word for field in fields for word in ("-e", field))]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    first, second = (packet["_source"]["layers"] for packet in json.loads(done.stdout))
    assert first["frame.interface_name"] == ["isp-edge/access0"]
    assert first["frame.comment"] == ["a/b/S3-é/ipv4"]
    assert first["tcp.srcport"] == ["20000"]
    assert second["frame.interface_description"] == ["mx, interface eth0"]
    assert "frame.comment" not in second
    epoch = second["frame.time_epoch"][0]
    assert "123456790" in epoch


# -- the folder --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("residential_isp (isp-edge: op25b + ip25b)", "residential_isp-isp-edge-op25b+ip25b"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\0b\n", "a-b"),
        ("ähm", "hm"),
        ("...", "lab"),
        ("x" * 500, "x" * LONGEST_NAME),
    ],
)
def test_names_are_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_equal_names_get_files_of_their_own(tmp_path: Path) -> None:
    folder = CaptureFolder(tmp_path / "new" / "folder")
    for name in ("lab", "Lab", "lab"):
        folder.open(name)[1].close()
    assert [file.path.name for file in folder.files] == ["lab.pcapng", "Lab-2.pcapng", "lab-3.pcapng"]
    folder.close()  # no lab has written to them
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays_and_so_does_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    CaptureFolder(tmp_path / "old").close()
    folder = CaptureFolder(tmp_path / "old" / "new")
    with folder.open("lab")[1] as opened:
        opened.write(b"x")
    folder.close()
    assert (tmp_path / "old" / "new" / "lab.pcapng").read_bytes() == b"x"


def test_standard_output_is_no_folder_of_captures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^-: captures are files, and standard output is none; a folder$"):
        CaptureFolder(Path("-"))
    assert list(tmp_path.iterdir()) == []


def test_the_comment_on_a_file_is_replaced(tmp_path: Path) -> None:
    folder = CaptureFolder(tmp_path)
    file, opened = folder.open("lab")
    with opened:
        opened.write(whole("before"))
    comment(file, ["S3: dropped", "S6: delivered"])
    assert file.path.read_bytes() == whole("S3: dropped\nS6: delivered")
    assert [path.name for path in tmp_path.iterdir()] == ["lab.pcapng"]


def test_a_file_that_is_no_capture_is_left_alone(tmp_path: Path) -> None:
    file, opened = CaptureFolder(tmp_path).open("lab")
    with opened:
        opened.write(b"something else")
    file.problem = None
    comment(file, ["x"])
    assert file.path.read_bytes() == b"something else"
    assert file.problem == "cannot be commented: no little-endian pcapng section"


def test_lost_packets_are_a_problem(tmp_path: Path) -> None:
    file, opened = CaptureFolder(tmp_path).open("lab")
    opened.close()
    assert file.problem == "the lab ended before its capture was complete"
    file.ended(CaptureSummary(packets=5))
    assert file.problem is None
    file.ended(CaptureSummary(packets=5, lost={"ix": 3, "mx": 1}))
    assert file.problem == "the capture lost packets: 3 at ix, 1 at mx"


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="cannot be written"):
            CaptureFolder(folder)
