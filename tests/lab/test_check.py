"""`port25lab check`: a router's rules as they are, in a lab of its shape."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from command import port25lab
from port25lab.report import json_schema
from router_snapshots import ROUTERS

OLD = """\
*nat
-A POSTROUTING -o ppp0 -j MASQUERADE
-A PREROUTING -i ppp0 -p tcp --dport 25 -j DNAT --to-destination 192.168.7.25
COMMIT
*filter
:FORWARD DROP [0:0]
:LOGDROP - [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i br-lan -p tcp --dport 25 ! -s 192.168.7.25 -j LOGDROP
-A FORWARD -i br-lan -o ppp0 -j ACCEPT
-A FORWARD -i ppp0 -d 192.168.7.25 -p tcp --dport 25 -j ACCEPT
-A LOGDROP -j LOG
-A LOGDROP -j DROP
COMMIT
"""

NEW = OLD.replace("! -s 192.168.7.25 -j LOGDROP", "-j REJECT")


def checked(tmp_path: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    done = port25lab("check", *arguments, "--json", str(tmp_path / "out.json"))
    assert done.returncode in (0, 1), done.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    jsonschema.validate(document, json_schema.schema())
    return done.returncode, done.stdout, document


def rows(document: dict[str, Any], **wanted: object) -> dict[tuple[str, str, int], tuple[str, str | None, int | None]]:
    """Outcome, file and line by source, destination and port."""
    return {
        (one["from"], one["to"], one["port"]): (
            one["outcome"],
            one["blame"] and Path(one["blame"]["file"]).name,
            one["blame"] and one["blame"]["line"],
        )
        for one in document["verdicts"]
        if all(one[key] == value for key, value in wanted.items())
    }


def test_rules_alone_say_who_is_blocked_and_by_which_line(tmp_path: Path) -> None:
    (tmp_path / "rules.v4").write_text(OLD)
    code, stdout, document = checked(tmp_path, str(tmp_path / "rules.v4"))
    found = rows(document, ip_version=4)
    assert code == 0
    assert found["inside-br-lan", "mx:example.net", 25] == ("dropped", "rules.v4", 13)
    assert found["inside-br-lan", "provider", 587] == ("delivered", None, None)
    assert found["from-192-168-7-25", "mx:example.net", 25] == ("delivered", None, None)
    assert found["outside", "from-192-168-7-25", 25] == ("delivered", None, None)
    assert found["router", "mx:example.net", 25] == ("delivered", None, None)
    trail = next(verdict["blame"]["trail"] for verdict in document["verdicts"] if verdict["blame"])
    assert [(step["chain"], step["line"]) for step in trail] == [("FORWARD", 9), ("LOGDROP", 13)]
    assert "no rules for IPv6" in stdout
    roles = {one["interface"]: one["role"] for one in document["mapping"]["interfaces"]}
    assert roles == {"ppp0": "outside", "br-lan": "inside"}


def test_what_changes_from_the_old_rules_comes_first_and_can_be_allowed(tmp_path: Path) -> None:
    for name, text in (("old.v4", OLD), ("new.v4", NEW)):
        (tmp_path / name).write_text(text)
    files = [str(tmp_path / "new.v4"), "--against", str(tmp_path / "old.v4"), "--ip", "4"]
    code, stdout, document = checked(tmp_path, *files)
    assert code == 1
    assert "4 paths with another outcome" in stdout
    new, old = rows(document, variant="new"), rows(document, variant="old")
    assert {path for path in new if new[path][0] != old[path][0]} == {
        (source, to, 25) for source in ("inside-br-lan", "from-192-168-7-25") for to in ("mx:example.net", "provider")
    }
    assert new["inside-br-lan", "provider", 25] == ("rejected-icmp", "new.v4", 9)
    (tmp_path / "allow.yaml").write_text("allow: [{port: 25, reason: ticket 4711, expires: 2099-01-01}]\n")
    code, stdout, _ = checked(tmp_path, *files, "--allow", str(tmp_path / "allow.yaml"))
    assert code == 0
    assert "ticket 4711" in stdout
    code, stdout, _ = checked(tmp_path, str(tmp_path / "old.v4"), "--against", str(tmp_path / "old.v4"), "--ip", "4")
    assert code == 0
    assert "Nothing changes." in stdout


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("isp_edge_sets", ("inside-enp1s0f1-100", "mx:example.net", 25), "rejected-icmp"),
        ("isp_edge_sets", ("smtp-exempt", "mx:example.net", 25), "delivered"),
        ("openwrt_fw3", ("inside-br-lan", "mx:example.net", 25), "rejected-reset"),
        ("openwrt_fw3", ("inside-br-lan", "provider", 587), "delivered"),
        ("hotel_portal", ("inside-eth1", "mx:example.net", 25), "dropped"),
        ("pppoe_cpe", ("from-192-168-178-25", "mx:example.net", 25), "delivered"),
        ("docker_host", ("outside", "from-172-18-0-2", 25), "delivered"),
    ],
)
def test_routers_as_they_are(tmp_path: Path, name: str, path: tuple[str, str, int], expected: str) -> None:
    file = ROUTERS / f"{name}.txt"
    _, _, document = checked(tmp_path, str(file), "--ip", "4")
    found = rows(document)
    outcome, blamed, line = found[path]
    assert outcome == expected
    if blamed is not None:
        assert blamed == file.name
        assert line is not None
        assert file.read_text().splitlines()[line - 1].startswith((":", "-A", "["))
    assert "error" not in {outcome for outcome, _, _ in found.values()}


GUESTS = """\
*nat
-A PREROUTING -i guest0 -p tcp --dport 25 -j REDIRECT --to-ports 10025
-A POSTROUTING -o wan0 -j MASQUERADE
COMMIT
*filter
:FORWARD DROP [0:0]
:wan-in - [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i wan0 -j wan-in
-A FORWARD -i lan0 -p tcp --dport 25 -m limit --limit 1/hour --limit-burst 1 -j ACCEPT
-A FORWARD -i lan0 -p tcp --dport 25 -j DROP
-A FORWARD -i lan0 -o wan0 -j ACCEPT
-A FORWARD -i guest0 -o wan0 -j ACCEPT
-A wan-in -s 127.0.0.0/8 -j DROP
-A wan-in -s 10.0.0.0/8 -j DROP
-A wan-in -s 192.168.0.0/16 -j DROP
COMMIT
"""
"""A proxy for guests, a limit for each host of the LAN, and a list of bogons."""


def test_a_proxy_a_limit_and_a_list_of_bogons(tmp_path: Path) -> None:
    (tmp_path / "rules.v4").write_text(GUESTS)
    code, stdout, document = checked(tmp_path, str(tmp_path / "rules.v4"), "--ip", "4")
    found = rows(document)
    assert code == 0
    assert found["inside-guest0", "mx:example.net", 25] == ("intercepted", "rules.v4", 2)
    assert found["inside-guest0", "provider", 587] == ("delivered", None, None)
    assert found["inside-lan0", "mx:example.net", 25] == ("delivered", None, None)
    assert found["inside-lan0", "provider", 25] == ("delivered", None, None)  # in a lab of its own
    assert {outcome for outcome, _, _ in found.values()} == {"delivered", "intercepted", "closed"}
    assert "inside-lan0, router" in stdout


def test_rules_that_iptables_refuses_are_bad_input_with_the_users_line(tmp_path: Path) -> None:
    (tmp_path / "rules.v4").write_text("*filter\n-A FORWARD -p tcp --dport 25 -j DORP\nCOMMIT\n")
    done = port25lab("check", str(tmp_path / "rules.v4"))
    assert done.returncode == 2
    assert "rules.v4:2" in done.stderr
    assert "Traceback" not in done.stderr
    (tmp_path / "rules.v6").write_text("*filter\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n")
    done = port25lab("check", str(tmp_path / "rules.v4"), str(tmp_path / "rules.v6"))
    assert done.returncode == 2
    assert "rules.v4:2" in done.stderr
    assert "rules.v6:2" in done.stdout


def test_a_project_that_init_made_passes(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    made = port25lab("init", str(folder), "--from", str(ROUTERS / "isp_edge_sets.txt"))
    assert made.returncode == 0, made.stderr
    ran = port25lab("run", "scenarios/mail.yaml", cwd=folder)
    assert ran.returncode == 0, ran.stdout
    assert "policies/router/sets.ipset" in made.stdout
    again = port25lab("init", str(folder))
    assert again.returncode == 2
    assert "not empty" in again.stderr


def test_a_contract_names_leaks_and_rows_that_are_not_asked(tmp_path: Path) -> None:
    done = port25lab("check", str(ROUTERS / "pppoe_cpe.txt"), "--contract", "op25b")
    assert done.returncode == 1
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines if line and line[0] in ("LEAK", "OVER")].count("LEAK") == 4
    assert any(line[:2] == ["not", "asked"] for line in lines)


def test_a_rule_that_this_machine_cannot_try_is_no_mistake(tmp_path: Path) -> None:
    foreign, other = tmp_path / "rules.v4", tmp_path / "rules.v6"
    foreign.write_text("*filter\n-A FORWARD -p tcp --dport 25 -m geoip --src-cc DE -j DROP\nCOMMIT\n")
    other.write_text("*filter\n-A FORWARD -p ipv6-icmp -j ACCEPT\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n")
    done = port25lab("check", str(foreign))
    assert done.returncode == 3
    assert f"{foreign}:2: cannot be tried here: this machine's iptables has no match geoip" in done.stderr
    code, stdout, document = checked(tmp_path, str(foreign), str(other))
    assert code == 0
    assert {verdict["ip_version"] for verdict in document["verdicts"]} == {6}
    assert "no rules for IPv4" not in stdout


def test_a_saved_file_is_checked_again_and_a_wrong_one_leaves_the_last_answers(tmp_path: Path) -> None:
    file, other = tmp_path / "rules.v4", tmp_path / "other"
    file.write_text(OLD)
    command = [sys.executable, "-u", "-m", "port25lab", "check", "--watch", str(file), "--ip", "4"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def until(words: str) -> str:
        assert process.stdout is not None
        return next(line for line in process.stdout if words in line)

    try:
        until("waiting for changes")
        file.write_text(NEW)
        assert until("another outcome").startswith("4 paths")
        file.write_text(NEW.replace("REJECT", "REJCET"))
        assert "the last answers stay" in until(f"{file}:9: ")  # it may also have met the file while it was empty
        other.write_text(OLD)
        other.replace(file)  # as editors save
        assert until("another outcome").startswith("4 paths")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
