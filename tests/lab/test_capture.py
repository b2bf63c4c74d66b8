"""Packets of real labs: what verdicts carry of them, and the files of `--pcap`, read back whole."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import MakePolicy, port25lab
from packet_origin import made_by
from pcapng_reader import blocks
from port25lab.kernel.headers import parse
from port25lab.model.verdict import Verdict
from port25lab.pytest_plugin.labs import LabFactory

HOME = {"source": "home-server", "to": "mx:example.net"}

both_versions = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


def told(verdict: Verdict) -> list[tuple[str, bool, str, bool]]:
    """The packets in short."""
    return [(seen.at, seen.leaving, seen.kind, seen.retransmission) for seen in verdict.evidence.packets]


# -- what a verdict carries --------------------------------------------------------------------------------------------


@both_versions
def test_a_dropped_syn_was_sent_twice_and_ended_at_the_node_that_dropped_it(lab: LabFactory, version: int) -> None:
    verdict = lab("residential_isp", {"isp-edge": "op25b"}).expect("dropped", ip_version=version, **HOME)
    assert told(verdict) == [
        ("home-server/eth0", True, "SYN", False),
        ("isp-edge/access0", False, "SYN", False),
        ("home-server/eth0", True, "SYN", False),
        ("isp-edge/access0", False, "SYN", False),
    ]
    first, second = verdict.evidence.packets[0], verdict.evidence.packets[2]
    assert first.source_port == second.source_port and first.sequence != second.sequence


@both_versions
def test_a_reset_by_a_rule_was_made_at_the_node_of_the_rule(lab: LabFactory, version: int) -> None:
    verdict = lab("residential_isp", {"isp-edge": "op25b-reset"}).expect("rejected-reset", ip_version=version, **HOME)
    assert made_by(verdict.evidence.packets, "RST") == "isp-edge"
    assert [seen.at for seen in verdict.evidence.packets if seen.kind == "RST"] == [
        "isp-edge/access0",
        "home-server/eth0",
    ]


@both_versions
def test_a_closed_port_was_reset_by_the_destination_itself(lab: LabFactory, version: int) -> None:
    verdict = lab("residential_isp").expect("closed", source="office", to="mx", port=26, ip_version=version)
    assert made_by(verdict.evidence.packets, "RST") == "mx"
    assert verdict.evidence.packets[-1].at == "office/eth0"
    assert verdict.evidence.packets[-1].ttl < 64


@both_versions
def test_an_icmp_error_is_seen_from_the_firewall_to_the_client(lab: LabFactory, version: int) -> None:
    verdict = lab("residential_isp", {"isp-edge": "op25b-reject"}).expect("rejected-icmp", ip_version=version, **HOME)
    errors = [seen for seen in verdict.evidence.packets if seen.kind == "ICMP"]
    assert made_by(verdict.evidence.packets, "ICMP") == "isp-edge"
    assert errors[0].icmp == ((3, 13) if version == 4 else (1, 1))
    assert [(error.sender, error.type) for error in verdict.evidence.icmp] == [(errors[0].source, errors[0].icmp[0])]


def test_a_session_that_got_through_was_seen_at_both_ends(lab: LabFactory) -> None:
    verdict = lab("residential_isp").expect("delivered", ip_version=4, **HOME)
    opening = [entry for entry in told(verdict) if entry[2] in ("SYN", "SYN-ACK")]
    assert opening == [
        ("home-server/eth0", True, "SYN", False),
        ("mx/eth0", False, "SYN", False),
        ("mx/eth0", True, "SYN-ACK", False),
        ("home-server/eth0", False, "SYN-ACK", False),
    ]
    assert verdict.evidence.divergence is None


def test_a_syn_ack_that_was_dropped_on_the_way_back_ended_there(lab: LabFactory, make_policy: MakePolicy) -> None:
    policy = make_policy("answers", v4="*filter\n-A FORWARD -p tcp --sport 25 -j DROP\nCOMMIT\n")
    verdict = lab("residential_isp", {"isp-edge": policy}).expect("dropped", ip_version=4, **HOME)
    answers = [seen for seen in verdict.evidence.packets if seen.kind == "SYN-ACK"]
    assert {seen.at for seen in answers} == {"mx/eth0", "isp-edge/core0"}
    assert made_by(verdict.evidence.packets, "SYN-ACK") == "mx"


@pytest.mark.parametrize("policy", ["asa-fixup", "asa-fixup-inline"])
def test_the_two_sides_of_a_middlebox_are_compared(lab: LabFactory, policy: str) -> None:
    verdict = lab("residential_isp", {"isp-edge": policy}).send(ip_version=4, security="starttls", **HOME)
    assert verdict.evidence.divergence is not None
    assert "ESMTP port25lab" in verdict.evidence.divergence
    assert verdict.evidence.divergence.startswith('client side: "220 ***')


def test_a_failing_path_tells_its_packets(tmp_path: Path) -> None:
    file = tmp_path / "leak.yaml"
    file.write_text(
        "title: made for a test\ntopology: residential_isp\nvariants: {blocked: {isp-edge: op25b}}\npaths:\n"
        "  - {from: home-server, to: 'mx:example.net', port: 25, ip: 4, expect: delivered}\n"
    )
    done = port25lab("run", str(file), "--junit", str(tmp_path / "j.xml"), "--json", str(tmp_path / "j.json"))
    assert done.returncode == 1, done.stderr
    for text in (done.stdout, (tmp_path / "j.xml").read_text()):
        assert "s isp-edge/access0 got SYN" in text
        assert "TTL 63" in text
    verdict = json.loads((tmp_path / "j.json").read_text())["verdicts"][0]
    assert len(verdict["packets"]) == 4


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    folder = tmp_path_factory.mktemp("pcap")
    done = port25lab("run", "residential", "-k", "S3 or S6", "--pcap", str(folder), "--json", str(folder / "out.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def verdicts(folder: Path) -> Iterator[dict[str, Any]]:
    yield from json.loads((folder / "out.json").read_text())["verdicts"]


def read(file: Path) -> tuple[str, list[str], list[tuple[str, bytes, str]]]:
    """Comment on the section, interfaces, and each packet with its interface and comment."""
    comment, interfaces, packets = "", [], []
    for kind, body in blocks(file.read_bytes()):
        if kind == 0x0A0D0D0A:
            comment = _options(body[16:])[1]
        elif kind == 1:
            interfaces.append(_options(body[8:])[2])
        elif kind == 6:
            number, kept = struct.unpack_from("<I8xI", body)
            comments = _options(body[20 + (kept + 3) // 4 * 4 :])
            packets.append((interfaces[number], body[20 : 20 + kept], comments.get(1, "")))
    return comment, interfaces, packets


def _options(data: bytes) -> dict[int, str]:
    found = {}
    while len(data) >= 4:
        code, length = struct.unpack_from("<HH", data)
        found[code] = data[4 : 4 + length].decode(errors="replace")
        data = data[4 + (length + 3) // 4 * 4 :]
    return found


def test_each_lab_has_one_file_and_each_verdict_names_its_own(captured: Path) -> None:
    files = {path.name for path in captured.glob("*.pcapng")}
    assert files == {"residential_isp-no-policy.pcapng", "residential_isp-isp-edge-op25b.pcapng"}
    named = {(verdict["variant"], verdict["pcap"]) for verdict in verdicts(captured)}
    assert named == {
        ("open", "residential_isp-no-policy.pcapng"),
        ("op25b", "residential_isp-isp-edge-op25b.pcapng"),
    }
    told = json.loads((captured / "out.json").read_text())["environment"]["pcap"]
    assert {name: file["problem"] for name, file in told["files"].items()} == dict.fromkeys(files)


def test_a_file_has_an_interface_for_each_observation_point(captured: Path) -> None:
    _, interfaces, _ = read(captured / "residential_isp-isp-edge-op25b.pcapng")
    assert {"home-server/eth0", "isp-edge/access0", "isp-edge/core0", "mx/eth0", "cpe/wan0"} <= set(interfaces)


def test_each_attempt_has_a_comment_at_its_first_syn_and_its_outcome_on_the_file(captured: Path) -> None:
    for file in captured.glob("*.pcapng"):
        comment, _, packets = read(file)
        commented = {line: (place, data) for place, data, text in packets for line in text.splitlines()}
        for verdict in verdicts(captured):
            if verdict["pcap"] == file.name:
                assert f"{verdict['path']}: {verdict['outcome']}" in comment.splitlines()
                place, data = commented[verdict["path"]]
                packet = parse(data)
                assert packet
                assert (place.partition("/")[0], packet.kind) == (verdict["from"], "SYN")


def test_both_dropped_syns_are_in_the_file_up_to_where_they_ended(captured: Path) -> None:
    _, _, packets = read(captured / "residential_isp-isp-edge-op25b.pcapng")
    dropped = [verdict for verdict in verdicts(captured) if verdict["outcome"] == "dropped"]
    assert dropped
    for verdict in dropped:
        to = verdict["packets"][0]["destination"]  # a client may dial several addresses
        sequences = {packet["sequence"] for packet in verdict["packets"] if packet["destination"] == to}
        places = [
            place
            for place, data, _ in packets
            if (packet := parse(data)) and packet.kind == "SYN" and packet.sequence in sequences
        ]
        assert places.count("home-server/eth0") == 2
        assert places.count("isp-edge/access0") == 2
        assert "isp-edge/core0" not in places


def test_a_file_is_complete_and_in_order_of_time(captured: Path) -> None:
    for file in captured.glob("*.pcapng"):
        times = [
            high << 32 | low
            for kind, body in blocks(file.read_bytes())
            if kind == 6
            for high, low in [struct.unpack_from("<4xII", body)]
        ]
        assert times == sorted(times)
        _, _, packets = read(file)
        kinds = [packet.kind for _, data, _ in packets if (packet := parse(data))]
        assert kinds.count("FIN") > 0 or "SYN-ACK" not in kinds  # sessions are there to their end


@pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark on this machine")
def test_tshark_reads_whole_sessions(captured: Path, tmp_path: Path) -> None:
    # One observation point alone: of a packet's further sightings tshark thinks that they are retransmissions.
    alone = tmp_path / "mx.pcapng"
    file = captured / "residential_isp-no-policy.pcapng"
    subprocess.run(["tshark", "-r", file, "-Y", 'frame.interface_name == "mx/eth0"', "-w", alone], check=True)
    argv = ["tshark", "-r", alone, "-T", "fields", "-e", "_ws.col.Info"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    for words in ("S: 220 mx.example.net ESMTP port25lab", "C: EHLO", "C: QUIT"):
        assert words in done.stdout
    assert "not captured" not in done.stdout  # no segment is missing
    assert "cut short" not in done.stderr


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = port25lab("run", "residential", "--pcap", str(tmp_path / "file"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"port25lab: {tmp_path}/file: cannot be written: ")
    assert done.stderr.count("\n") == 1


def test_a_rule_that_iptables_refuses_leaves_no_empty_file(tmp_path: Path, make_policy: MakePolicy) -> None:
    policy = make_policy("refused", v4="*filter\n-A FORWARD -j NOSUCHTARGET\nCOMMIT\n")
    file = tmp_path / "x.yaml"
    file.write_text(
        f"title: made for a test\ntopology: residential_isp\nvariants: {{refused: {{isp-edge: {policy}}}}}\npaths:\n"
        "  - {from: home-server, to: 'mx:example.net', port: 25, expect: dropped}\n"
    )
    done = port25lab("run", str(file), "--pcap", str(tmp_path / "pcap"))
    assert done.returncode == 2, done.stderr
    assert all(path.stat().st_size for path in (tmp_path / "pcap").glob("*"))
