"""The command line, with real labs behind it: exit codes, files, bad input, and a shell in a lab that is still up."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from command import port25lab
from machine import COMMAND, Machine, descendants, running

SCENARIO = """\
title: T
topology: {street}
variants: {{open: {{}}, deny: {{edge: {deny}}}}}
paths:
  - {{ref: T1, from: sender, to: "mx:example.net", expect: {{open: delivered, deny: {expected}}}}}
  - {{ref: T2, from: sender, to: server, port: 587, security: starttls, auth: alice, ip: 4, expect: delivered}}
"""
DENY = "*filter\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n"


@pytest.fixture
def scenario(street: str, make_policy: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    def write(expected: str = "dropped", v4: str = DENY, v6: str | None = DENY) -> str:
        file = tmp_path / "my.yaml"
        file.write_text(SCENARIO.format(street=street, deny=make_policy("deny", v4=v4, v6=v6), expected=expected))
        return str(file)

    return write


def test_exit_0_where_every_expectation_is_met_and_results_are_written(
    scenario: Callable[..., str], tmp_path: Path
) -> None:
    done = port25lab("run", scenario(), "--json", f"{tmp_path}/out.json", "--junit", f"{tmp_path}/out.xml", "-j", "1")
    assert done.returncode == 0, done.stderr
    assert "6 paths in 2 labs" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["schema_version"] == 1
    assert written["environment"]["jobs"] == 1
    dropped = next(verdict for verdict in written["verdicts"] if verdict["outcome"] == "dropped")
    assert dropped["from"] == "sender"
    assert dropped["ref"] == "T1"
    assert dropped["blame"]["rule"] == "-A FORWARD -p tcp --dport 25 -j DROP"
    assert dropped["blame"]["rule_number"] == 1
    assert dropped["observation"]["errno"] == "ETIMEDOUT"
    suite = ElementTree.parse(tmp_path / "out.xml").getroot()
    assert len(list(suite.iter("testcase"))) == 6
    assert not list(suite.iter("failure"))


def test_exit_1_where_one_is_not_and_all_is_said_about_it(scenario: Callable[..., str], tmp_path: Path) -> None:
    file = scenario("delivered")
    done = port25lab("run", file, "--junit", f"{tmp_path}/out.xml", "-k", "deny and T1 and ipv6")
    assert done.returncode == 1
    for line in (
        r"sender -> MX of example.net:25, IPv6",
        "expected  delivered",
        "found     dropped",
        "connect to 2001:db8:25::25: ETIMEDOUT",
        "-A FORWARD -p tcp --dport 25 -j DROP",
        "deny/rules.v6:2",
        f"port25lab run {file} ",
        "deny/T1-sender-to-mx:example.net-25/ipv6'",
    ):
        assert line in done.stdout
    failure = next(ElementTree.parse(tmp_path / "out.xml").getroot().iter("failure"))
    assert "expected  delivered" in (failure.text or "")
    command = next(line for line in done.stdout.splitlines() if "port25lab run " in line)
    repeated = port25lab(*shlex.split(command)[2:])
    assert repeated.returncode == 1
    assert "1 path in 2 labs" in repeated.stdout


def test_a_reference_selects_paths(scenario: Callable[..., str]) -> None:
    done = port25lab("run", scenario(), "--ref", "t2")
    assert done.returncode == 0
    assert "2 paths in 2 labs" in done.stdout
    assert "T1" not in done.stdout


# -- results in spite of pipes and disks -------------------------------------------------------------------------------


@pytest.fixture
def piped(scenario: Callable[..., str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A line of bash in an empty folder: ``port25lab`` runs one path, whose expectation is met or not."""

    def run(line: str, expected: str = "delivered") -> subprocess.CompletedProcess[str]:
        (tmp_path / "work").mkdir(exist_ok=True)
        file = scenario(expected="dropped" if expected == "delivered" else "delivered")
        one = f"{'open' if expected == 'delivered' else 'deny'}/T1-sender-to-mx:example.net-25/ipv4"
        script = (
            f'port25lab() {{ {shlex.join(COMMAND)} run {shlex.quote(file)} -k "{one}" "$@"; }}\n'
            f'{line}\necho "exit ${{PIPESTATUS[*]}}" >&2\n'
        )
        return subprocess.run(
            ["bash", "-c", script], cwd=tmp_path / "work", capture_output=True, text=True, check=False, timeout=60
        )

    return run


def whole(file: Path) -> bool:
    """A result file with everything in it, and nothing else in its folder."""
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    return len(json.loads(file.read_text())["verdicts"]) == 1


@pytest.mark.parametrize(("expected", "code"), [("delivered", 0), ("not met", 1)])
def test_a_reader_that_leaves_early_changes_neither_the_file_nor_the_exit_code(
    piped: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, expected: str, code: int
) -> None:
    done = piped("port25lab --json r.json | true", expected)
    assert done.stderr == f"exit {code} 0\n"
    assert whole(tmp_path / "work" / "r.json")


@pytest.mark.parametrize(("expected", "code"), [("delivered", 4), ("not met", 1)])
def test_a_full_disk_behind_the_tables_leaves_the_file_whole(
    piped: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, expected: str, code: int
) -> None:
    done = piped("port25lab --json r.json > /dev/full", expected)
    assert done.stderr == f"port25lab: standard output: cannot be written: No space left on device\nexit {code}\n"
    assert whole(tmp_path / "work" / "r.json")


def test_results_go_through_pipes(piped: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    count = f"""{shlex.quote(COMMAND[0])} -c 'import json, sys; print(len(json.load(sys.stdin)["verdicts"]))'"""
    for option in ("--json -", "--json /dev/stdout"):
        done = piped(f"port25lab {option} | {count}")
        assert done.stdout == "1\n"
        assert "1 path in 1 lab" in done.stderr
        assert done.stderr.endswith("exit 0 0\n")
    done = piped(f"port25lab --junit r.xml --json >({count} > counted) > tables; while [ ! -s counted ]; do :; done")
    assert (tmp_path / "work" / "counted").read_text() == "1\n"
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["counted", "r.xml", "tables"]
    done = piped("port25lab --junit - | head -c 5")
    assert done.stdout == "<?xml"
    assert done.stderr.endswith("exit 0 0\n")


def test_a_file_of_the_user_keeps_its_link_and_its_mode(
    piped: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = piped("echo old > target; chmod 604 target; ln -s target r.json; port25lab --json r.json > /dev/null")
    assert done.stderr == "exit 0\n"
    assert (tmp_path / "work" / "r.json").is_symlink()
    assert oct((tmp_path / "work" / "target").stat().st_mode)[-3:] == "604"
    assert json.loads((tmp_path / "work" / "target").read_text())["schema_version"] == 1


BAD = {
    "no such scenario": (["run", "residental"], "no scenario 'residental'; did you mean 'residential'? known: "),
    "no such option value": (["run", "hotel", "-j", "0"], "-j"),
    "no such ref": (["run", "hotel", "--ref", "S99"], "no path has the ref 'S99'"),
    "bad expression": (["run", "hotel", "-k", "(ipv4"], "column 1: the parenthesis is not closed"),
    "nothing left": (["run", "hotel", "-k", "no-such-word"], "no path matches -k 'no-such-word'"),
    "unwritable json": (["run", "hotel", "--json", "/no/such/folder/x.json"], "/no/such/folder"),
    "unwritable junit": (["run", "hotel", "--junit", "/proc"], "/proc: is a folder"),
    "one file for two": (["run", "hotel", "--json", "/tmp/x", "--junit", "/tmp/../tmp/x"], "are the same file"),
    "one stream for two": (["run", "hotel", "--json", "-", "--junit", "-"], "two outputs to standard output"),
    "no command": (["rnu"], "rnu"),
}


@pytest.mark.parametrize("kind", BAD)
def test_exit_2_for_bad_usage_and_nothing_is_started(kind: str) -> None:
    arguments, words = BAD[kind]
    _is_refused(arguments, words)


HEAD = "title: T\ntopology: {street}\n"
FILES = {
    "no yaml": ("title: [T\n", "not YAML"),
    "unknown key": (HEAD + "variants: {{open: {{}}}}\npathz: []\n", ":4:1: unknown key 'pathz'; did you mean 'paths'?"),
    "no such topology": (
        "title: T\ntopology: residental\nvariants: {{x: {{}}}}\npaths: [{{from: a, to: b, expect: closed}}]\n",
        ":2:11: no topology 'residental'; did you mean 'residential_isp'?",
    ),
    "no such policy": (
        HEAD + "variants: {{x: {{edge: op25}}}}\npaths: [{{from: sender, to: server, expect: closed}}]\n",
        ":3:22: no policy 'op25'; did you mean 'op25b'?",
    ),
    "no such node": (
        HEAD + "variants: {{open: {{}}}}\npaths: [{{from: sendr, to: server, expect: closed}}]\n",
        ":4:16: no node 'sendr'; a node of street: did you mean 'sender'?",
    ),
    "no router": (
        HEAD + "variants: {{x: {{server: op25b}}}}\npaths: [{{from: sender, to: server, expect: closed}}]\n",
        ":3:16: 'server' does not forward packets; a router of street: known: edge, far",
    ),
    "no such user": (
        HEAD + "variants: {{x: {{}}}}\npaths: [{{from: sender, to: server, auth: mallory, expect: closed}}]\n",
        ":4:42: no user 'mallory' at server; ",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_exit_2_for_a_bad_scenario_with_file_line_and_column(kind: str, street: str, tmp_path: Path) -> None:
    text, words = FILES[kind]
    file = tmp_path / "bad.yaml"
    file.write_text(text.format(street=street))
    _is_refused(["run", str(file)], words, starts=f"port25lab: {file}:")


def test_exit_2_for_rules_that_iptables_refuses_with_its_words(scenario: Callable[..., str]) -> None:
    bad = DENY.replace("DROP", "DORP")
    done = port25lab("run", scenario(v4=bad))
    assert done.returncode == 2
    assert "/deny/rules.v4:2: Chain 'DORP' does not exist; what iptables-restore takes" in done.stderr
    assert done.stdout == ""


def test_exit_2_for_an_address_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "my_topology.py"
    file.write_text(
        "from mininet.topo import Topo\n"
        "class T(Topo):\n"
        "    def build(self):\n"
        "        self.addHost('a'); self.addHost('b')\n"
        "        self.addLink('a', 'b', params1={'ip': '192.0.2.1/33'}, params2={'ip': '192.0.2.2/30'})\n"
        "topos = {'my_topology': T}\n"
    )
    scenario = tmp_path / "s.yaml"
    scenario.write_text(
        "title: T\ntopology: my_topology.py\nvariants: {x: {}}\npaths: [{from: a, to: b, expect: closed}]\n"
    )
    _is_refused(["run", str(scenario)], "192.0.2.1/33", starts=f"port25lab: {file}")


@pytest.mark.parametrize("statement", ["import sys; sys.exit()", "raise KeyboardInterrupt", "1 / 0"])
def test_exit_2_for_whatever_a_topology_file_raises(tmp_path: Path, statement: str) -> None:
    (tmp_path / "my_topology.py").write_text(f"x = 1\n{statement}\n")
    scenario = tmp_path / "s.yaml"
    scenario.write_text(
        "title: T\ntopology: my_topology.py\nvariants: {x: {}}\npaths: [{from: a, to: b, expect: closed}]\n"
    )
    _is_refused(["run", str(scenario)], "", starts=f"port25lab: {tmp_path}/my_topology.py:2: ")


def _is_refused(arguments: list[str], words: str, starts: str = "") -> None:
    """Exit 2, a message, and no helper process was ever started: it would be the first thing to be seen here."""
    done = _watching_helpers(arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert done.stderr.startswith(starts)
    assert "Traceback" not in done.stderr
    assert "A HELPER WAS STARTED" not in done.stderr
    assert done.stdout == ""


def _watching_helpers(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The command, with a word on standard error at each start of the helper process."""
    code = (
        "import sys\n"
        "from port25lab.cli import main\n"
        "from port25lab.lab import sandboxes\n"
        "sandboxes.PROGRAM = f'os.write(2, b\"A HELPER WAS STARTED\")\\n{sandboxes.PROGRAM}'\n"
        "main.main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_watch_for_helpers_sees_one() -> None:
    done = _watching_helpers(["run", "hosting", "-k", "vps-1 and open and ipv4"])
    assert done.stderr.count("A HELPER WAS STARTED") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="a program is taken away by a mount")
@pytest.mark.parametrize(
    ("program", "package"),
    [("nft", "nftables"), ("ipset", "ipset"), ("iptables-restore", "iptables"), ("swaks", "swaks")],
)
def test_exit_3_where_a_program_is_missing_and_the_package_is_named(program: str, package: str) -> None:
    machine, wide = Machine(), {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    try:
        hide = f"for p in $(ls /usr/sbin/{program} /usr/bin/{program}); do mount --bind /dev/null $(realpath $p); done"
        subprocess.run([*machine.prefix, "sh", "-c", hide], check=True)
        run, doctor = (
            subprocess.run([*machine.prefix, *COMMAND, *words], capture_output=True, text=True, check=False, env=wide)
            for words in (["run", "clients", "-k", "open and MX"], ["doctor"])
        )
        assert run.returncode == 3
        assert run.stdout == ""
        assert program in run.stderr
        assert f"sudo apt-get install --no-install-recommends {package}" in run.stderr
        assert doctor.returncode == (0 if program == "swaks" else 3)
        assert f"apt-get install --no-install-recommends {package}" in doctor.stdout
    finally:
        machine.close()


# -- a lab to look around in -------------------------------------------------------------------------------------------

ASK = r"shell in node \(empty: go on\) > "


def test_pause_opens_a_shell_in_a_node_and_goes_on_after_it(scenario: Callable[..., str]) -> None:
    with running([*COMMAND, "run", scenario(), "--pause", "--ref", "T2"]) as run:
        said = run.wait_for(ASK)
        assert "is up; nodes: edge, far, other, sender, server" in said
        run.type("sendr")
        assert "no node 'sendr'; did you mean 'sender'?" in run.wait_for(ASK)
        run.type("sender")
        run.type(
            "ip -color=never -o address show dev eth0; ls /sys/class/net; cat /etc/resolv.conf; hostname; "
            "echo done=$((40 + 2))"
        )
        said = run.wait_for("done=42")
        assert "198.51.100.10/24" in said
        assert "2001:db8:1::10/64" in said
        assert "nameserver 192.0.2.25" in said
        assert "access0" not in said
        assert "\nsender" in said.replace("\r", "")
        run.type("exit")
        run.wait_for(ASK)
        run.type("edge")
        run.type("ls /sys/class/net; iptables-save | grep -c FORWARD; echo done=$((40 + 2))")
        assert "access0" in run.wait_for("done=42")
        run.type("exit")
        run.wait_for(ASK)
        run.type("")
        run.wait_for(ASK)  # the other variant's lab
        run.type("")
        assert "2 paths in 2 labs" in run.rest()
        assert run.process.wait(10) == 0


def test_ctrl_c_in_the_shell_is_for_what_runs_there(scenario: Callable[..., str]) -> None:
    with running([*COMMAND, "run", scenario(), "--pause", "--ref", "T2"]) as run:
        run.wait_for(ASK)
        run.type("sender")
        run.type("sleep 1000")
        run.wait_for_program("sleep 1000")
        os.write(run.terminal, b"\x03")
        run.type("echo still=$((2 + 2))")
        run.wait_for("still=4")
        run.type("exit")
        run.wait_for(ASK)
        run.type("")
        run.wait_for(ASK)
        run.type("")
        run.rest()
        assert run.process.wait(10) == 0


def test_ctrl_c_at_the_question_ends_the_run(scenario: Callable[..., str]) -> None:
    with running([*COMMAND, "run", scenario(), "--pause", "--ref", "T2"]) as run:
        run.wait_for(ASK)
        run.catch()
        run.process.send_signal(2)
        assert "interrupted; nothing is left behind" in run.rest()
        assert run.process.wait(2) == 130
        assert not run.gone_within()


def test_shell_on_failure_waits_for_labs_with_failures_alone(scenario: Callable[..., str]) -> None:
    with running([*COMMAND, "run", scenario("delivered"), "--shell-on-failure", "-k", "ipv4"]) as run:
        said = run.wait_for(ASK)
        assert "expected delivered, found dropped" in said.replace("\r\n", " ")
        run.type("sender")
        run.type("echo done=$((40 + 2))")
        run.wait_for("done=42")
        run.type("exit")
        run.wait_for(ASK)
        run.type("")
        rest = run.rest()
        assert "shell in node" not in rest
        assert run.process.wait(10) == 1


def test_without_a_terminal_pause_goes_on_at_the_end_of_its_input(scenario: Callable[..., str]) -> None:
    done = port25lab("run", scenario(), "--pause", "--ref", "T2", stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert "2 paths in 2 labs" in done.stdout


def test_a_live_line_tells_of_progress_on_a_terminal(scenario: Callable[..., str]) -> None:
    with running([*COMMAND, "run", scenario()]) as run:
        said = run.rest()
        assert "/2 labs" in said
        assert "6 paths in 2 labs" in said
        assert run.process.wait(10) == 0
    assert not [pid for pid in descendants(run.process.pid) if pid != run.process.pid]


# -- topology files ----------------------------------------------------------------------------------------------------


def test_a_topology_file_runs_once_in_a_run(scenario: Callable[..., str], street: str, tmp_path: Path) -> None:
    topology, runs = tmp_path / "counted.py", tmp_path / "runs"
    noted = f"\nwith open({str(runs)!r}, 'a') as runs:\n    runs.write('run\\n')\n"
    topology.write_text(Path(street).read_text() + noted)
    first, second = Path(scenario()), tmp_path / "second.yaml"
    first.write_text(first.read_text().replace(street, str(topology)))
    second.write_text(first.read_text().replace("deny:", "refuse:"))
    outputs = ("--pcap", f"{tmp_path}/packets", "--json", f"{tmp_path}/out.json")
    done = port25lab("run", str(first), str(second), "-k", "deny or refuse", *outputs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 paths in 2 labs" in done.stdout, "the lab with the policy, and the one of its controls"
    assert runs.read_text() == "run\n"
