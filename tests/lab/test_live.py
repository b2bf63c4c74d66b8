"""Labs that stay up: ask, change the rules, ask again, kill."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import MakePolicy, port25lab
from port25lab.engine.live import HeldSession, LiveLab
from port25lab.lab import registry
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.verdict import Verdict
from port25lab.pytest_plugin.labs import LabFactory

DROP_25 = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n"
REJECT_587 = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p tcp --dport 587 -j REJECT\nCOMMIT\n"
TRACK = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n"
KEEP_SESSIONS = """*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A FORWARD -p tcp --dport 25 -j DROP
COMMIT
"""
WRONG = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p tcp --dport 587 -j NOTHERE\nCOMMIT\n"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    yield tmp_path / registry.FOLDER
    port25lab("down", "--all")


def asked(port: int, file: Path) -> tuple[int, dict[str, object]]:
    done = port25lab("ask", "guest-1", "company", "--port", str(port), "--ip", "4", "--json", str(file))
    return done.returncode, json.loads(file.read_text())["verdicts"][0]


def test_ask_reload_ask_kill(runtime: Path, tmp_path: Path, make_policy: MakePolicy) -> None:
    first, second = make_policy("first", v4=DROP_25), make_policy("second", v4=REJECT_587)
    started = port25lab("up", "hotel", "--policy", f"isp-edge={first}", "--for", "5m")
    assert (started.returncode, started.stderr) == (0, "")
    again = port25lab("up", "hotel")
    assert (again.returncode, again.stderr.partition(";")[0]) == (2, "port25lab: a lab 'hotel' is up already")

    code, verdict = asked(25, tmp_path / "a.json")
    assert (code, verdict["outcome"]) == (1, "dropped")
    assert port25lab("reload", "isp-edge", second).returncode == 0
    code, verdict = asked(587, tmp_path / "b.json")
    assert (code, verdict["outcome"]) == (1, "rejected-icmp")
    assert isinstance(verdict["blame"], dict)
    assert verdict["blame"]["line"] == 3

    # A refused file leaves the rules of before; our tracing survives a flush.
    refused = port25lab("reload", "isp-edge", make_policy("wrong", v4=WRONG))
    assert refused.returncode == 2
    assert "wrong/rules.v4:3" in refused.stderr
    assert asked(587, tmp_path / "c.json")[1]["outcome"] == "rejected-icmp"
    assert port25lab("exec", "isp-edge", "--", "nft", "flush", "ruleset").returncode == 0
    assert port25lab("reload", "isp-edge", first).returncode == 0
    assert asked(25, tmp_path / "d.json")[1]["outcome"] == "dropped"

    assert port25lab("exec", "guest-1", "--", "sh", "-c", "exit 7").returncode == 7
    unknown = port25lab("exec", "guest-l", "--", "true")
    assert (unknown.returncode, "no node 'guest-l'" in unknown.stderr and "did you mean 'guest-" in unknown.stderr) == (
        2,
        True,
    )

    (row,) = json.loads(port25lab("ps", "--json").stdout)
    lab = os.pidfd_open(json.loads(port25lab("inspect", "--json").stdout)["pid"])
    os.kill(row["keeper"], signal.SIGKILL)
    assert select.select([lab], [], [], 10)[0]  # the lab has ended with its keeper
    os.close(lab)
    assert port25lab("ps").stdout == "no lab is up\n"
    assert list(runtime.iterdir()) == []


def test_an_answer_reads_as_a_sentence(lab: LabFactory, make_policy: MakePolicy) -> None:
    isp = lab("hotel", policies={"isp-edge": make_policy("drop-25", v4=DROP_25)})
    path = {"source": "guest-1", "to": "company", "ip_version": 4}
    assert isp.ask(**path, port=25).blocked
    isp.reload("isp-edge", make_policy("reject-587", v4=REJECT_587))
    with pytest.raises(AssertionError, match=r"guest-1 to company:587 was rejected-icmp by isp-edge: -A FORWARD .*:3"):
        assert isp.ask(**path, port=587).delivered
    assert not isp.ask(**path, port=25).blocked


def test_an_open_session_meets_the_rules_that_are_loaded_meanwhile(runtime: Path, make_policy: MakePolicy) -> None:
    drop, keep = make_policy("drop", v4=DROP_25), make_policy("keep", v4=KEEP_SESSIONS)
    track = make_policy("track", v4=TRACK)
    assert port25lab("up", "hotel", "--policy", f"isp-edge={track}").returncode == 0
    path = PathSpec(source="guest-1", to="company", ip_version=4, recipient="user@company.example")
    with LiveLab() as lab:
        for policy, outcome in ((keep, Outcome.DELIVERED), (drop, Outcome.TAMPERED)):
            lab.reload("isp-edge", [track])
            session = lab.open_session(path)
            assert isinstance(session, HeldSession)
            lab.reload("isp-edge", [policy])
            verdict = session.go_on()
            assert verdict.outcome is outcome
        assert verdict.blame is not None
        assert (verdict.blame.node, verdict.blame.line, verdict.mechanism) == ("isp-edge", 3, Mechanism.SESSION_CUT)
        blocked = lab.open_session(path)
        assert isinstance(blocked, Verdict)
        assert blocked.outcome is Outcome.DROPPED

        # The rule that drops has counted; the server has written down what it was told.
        counters = lab.counters()["isp-edge"]
        (rule,) = [one for one in counters.rules if one.text.endswith("-j DROP")]
        assert rule.packets > 0
        assert counters.interfaces["access0"].received_packets > 0
        texts = [line.text for line in lab.log(nodes=["company"])[0]]
        assert sum("MAIL FROM:<guest-1@port25lab.example>" in text for text in texts) == 1
        assert any(text.startswith("from <guest-1@port25lab.example> for user@company.example") for text in texts)


def test_mininets_prompt_works_on_the_nodes_of_the_lab(runtime: Path) -> None:
    assert port25lab("up", "hotel").returncode == 0
    commands = "guest-1 ip -color=never route get company\ncompany cat /etc/hosts\npy net['guest-1'].IP()\nexit\n"
    done = port25lab("mn", input=commands)
    assert done.returncode == 0
    said = done.stderr.splitlines()  # where Mininet writes
    assert said[0].startswith("192.0.2.65 via 172.20.0.1 ")
    assert any(line.startswith("127.0.1.1 mail.company.example") for line in said)
    assert said[-1] == "172.20.0.11"
    assert port25lab("ask", "guest-1", "mx:example.net", "--ip", "4").returncode == 0  # the lab is still there
