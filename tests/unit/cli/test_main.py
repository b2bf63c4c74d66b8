"""The command line without labs: what is asked of the engine, what comes of its report, and every exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import evidence_factory
from port25lab.cli import main
from port25lab.engine import engine as engine_module
from port25lab.errors import InputError, LabError, MachineError
from port25lab.machine import doctor, feature
from port25lab.model.outcome import Outcome
from port25lab.model.question import Question

Command = Callable[..., int]


class Engine:
    """In place of ``run.run``: notes what it was asked, and answers as told."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.options: dict[str, Any] = {}
        self.verdicts = [evidence_factory.verdict(), evidence_factory.verdict(Outcome.DROPPED)]
        self.raises: BaseException | None = None

    def run(self, questions: Sequence[Question], **options: Any) -> Any:
        self.asked, self.options = list(questions), options
        if self.raises is not None:
            raise self.raises
        report = evidence_factory.report(*self.verdicts)
        report.environment["labs"] = 2
        return report


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    fake = Engine()
    monkeypatch.setattr(engine_module, "run", fake.run)
    monkeypatch.setattr(doctor, "require", lambda: None)
    monkeypatch.setattr(doctor, "require_program", lambda *_: None)
    return fake


@pytest.fixture
def port25lab(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command with these arguments; its exit code."""

    def command(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["port25lab", *arguments])
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with pytest.raises(SystemExit) as ended:
                main.main()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        code = ended.value.code
        assert isinstance(code, int)
        return code

    return command


def test_exit_0_where_every_verdict_is_ok(port25lab: Command, engine: Engine, capsys: Any) -> None:
    assert port25lab("run", "hotel") == 0
    said = capsys.readouterr()
    assert "2 paths in 2 labs" in said.out
    assert said.err == ""
    assert "\x1b" not in said.out
    assert {question.scenario for question in engine.asked} == {"hotel"}


def test_exit_1_where_one_is_not(port25lab: Command, engine: Engine, capsys: Any) -> None:
    engine.verdicts = [evidence_factory.verdict(), evidence_factory.verdict(expected=Outcome.DROPPED)]
    assert port25lab("run", "hotel") == 1
    assert "expected dropped, found delivered" in capsys.readouterr().out


def test_exit_4_where_one_could_not_be_told_and_1_wins(port25lab: Command, engine: Engine, capsys: Any) -> None:
    untold = evidence_factory.verdict(Outcome.ERROR, expected=Outcome.DROPPED, reason="the lab broke")
    engine.verdicts = [evidence_factory.verdict(), untold]
    assert port25lab("run", "hotel") == 4
    assert "1 as expected, 1 could not be told" in capsys.readouterr().out
    engine.verdicts += [evidence_factory.verdict(expected=Outcome.DROPPED)]
    assert port25lab("run", "hotel") == 1
    assert "1 as expected, 1 not, 1 could not be told" in capsys.readouterr().out


def test_without_names_the_whole_catalogue_is_run_and_the_seed_table_printed(
    port25lab: Command, engine: Engine, capsys: Any
) -> None:
    port25lab("run")
    assert {"hotel", "residential", "cloud", "clients"} <= {question.scenario for question in engine.asked}
    assert "without policy" in capsys.readouterr().out
    port25lab("run", "hotel")
    assert "without policy" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "is_chosen"),
    [
        (("--ref", "S5"), lambda question: question.ref == "S5"),
        (("--ref", "s5", "--ref", "S7"), lambda question: question.ref in ("S5", "S7")),
        (("-k", "ipv6 and not S5"), lambda question: question.path.ip_version == 6 and question.ref != "S5"),
        (("-k", "guest-2 or S8"), lambda question: question.path.source == "guest-2" or question.ref == "S8"),
        (("--ref", "S5", "-k", "op25b"), lambda question: question.ref == "S5" and question.variant == "op25b"),
    ],
)
def test_only_the_chosen_paths_are_asked(
    port25lab: Command, engine: Engine, arguments: tuple[str, ...], is_chosen: Callable[[Question], bool]
) -> None:
    port25lab("run", "hotel")
    expected = [question.id for question in engine.asked if is_chosen(question)]
    port25lab("run", "hotel", *arguments)
    assert [question.id for question in engine.asked] == expected != []


def test_the_number_of_labs_side_by_side_is_passed_on(port25lab: Command, engine: Engine) -> None:
    port25lab("run", "hotel", "-j", "3")
    assert engine.options["jobs"] == 3
    assert engine.options["on_lab_up"] is None
    port25lab("run", "hotel")
    assert engine.options["jobs"] is None
    port25lab("run", "hotel", "--pause")
    assert engine.options["on_lab_up"] is not None


def test_results_are_written(port25lab: Command, engine: Engine, tmp_path: Path) -> None:
    port25lab("run", "hotel", "--json", f"{tmp_path}/out.json", "--junit", f"{tmp_path}/out.xml")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["schema_version"] == 1
    assert [verdict["outcome"] for verdict in written["verdicts"]] == ["delivered", "dropped"]
    assert len(list(ElementTree.parse(tmp_path / "out.xml").getroot().iter("testcase"))) == 2


@pytest.mark.parametrize("option", ["--json", "--junit"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_run(
    port25lab: Command, engine: Engine, option: str, tmp_path: Path, capsys: Any
) -> None:
    assert port25lab("run", "hotel", option, f"{tmp_path}/no/such/out") == 2
    assert (
        capsys.readouterr().err
        == f"port25lab: {tmp_path}/no/such/out: cannot be written: folder {tmp_path}/no/such does not exist\n"
    )
    assert engine.asked == []


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_results_on_standard_output_stand_there_alone(
    port25lab: Command, engine: Engine, name: str, capsys: Any
) -> None:
    assert port25lab("run", "hotel", "--json", name) == 0
    said = capsys.readouterr()
    assert len(json.loads(said.out)["verdicts"]) == 2
    assert "2 paths in 2 labs" in said.err
    assert port25lab("run", "hotel", "--junit", name) == 0
    said = capsys.readouterr()
    assert ElementTree.fromstring(said.out).tag == "testsuites"
    assert "2 paths in 2 labs" in said.err


def test_a_result_that_cannot_be_written_keeps_none_of_the_others(
    port25lab: Command, engine: Engine, tmp_path: Path, capsys: Any
) -> None:
    assert port25lab("run", "hotel", "--json", "/dev/full", "--junit", f"{tmp_path}/out.xml") == 4
    said = capsys.readouterr()
    assert said.err == "port25lab: /dev/full: cannot be written: No space left on device\n"
    assert "2 paths in 2 labs" in said.out
    assert ElementTree.parse(tmp_path / "out.xml").getroot().get("tests") == "2"
    assert port25lab("run", "hotel", "--junit", "/dev/full", "--json", f"{tmp_path}/out.json") == 4
    assert json.loads((tmp_path / "out.json").read_text())["schema_version"] == 1


def test_an_unmet_expectation_wins_over_a_result_that_is_not_written(port25lab: Command, engine: Engine) -> None:
    engine.verdicts = [evidence_factory.verdict(expected=Outcome.DROPPED)]
    assert port25lab("run", "hotel", "--json", "/dev/full") == 1


@pytest.fixture
def own_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a scenario, its policy and its topology, which has a module and a policy beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_nodes", raising=False)
    for name in ("mine", "network"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text("title: T\n")
        (tmp_path / name / "rules.v4").write_text(f"*filter\n:{name} - [0:0]\nCOMMIT\n")
    (tmp_path / "my_nodes.py").write_text("NAMES = ['a', 'b']\n")
    (tmp_path / "my.py").write_text(
        "from mininet.topo import Topo\nimport my_nodes\nclass T(Topo):\n    def build(self):\n"
        "        for name in my_nodes.NAMES: self.addHost(name, forward=True, policies=['./network'])\n"
        "        self.addLink('a', 'b', params1={'ip': '192.0.2.1/30'}, params2={'ip': '192.0.2.2/30'})\n"
        "topos = {'my': T}\n"
    )
    (tmp_path / "my.yaml").write_text(
        "title: T\ntopology: my.py\nvariants: {x: {b: ./mine}}\npaths: [{from: a, to: b, expect: closed}]\n"
    )
    return tmp_path


@pytest.mark.parametrize("option", ["--json", "--junit"])
@pytest.mark.parametrize(
    "name", ["my.yaml", "my.py", "my_nodes.py", "mine/policy.yaml", "mine/rules.v4", "network/rules.v4"]
)
def test_an_output_onto_a_file_that_the_run_reads_is_refused(
    port25lab: Command, engine: Engine, own_scenario: Path, option: str, name: str, capsys: Any
) -> None:
    before = (own_scenario / name).read_bytes()
    assert port25lab("run", "my.yaml", option, name) == 2
    said = capsys.readouterr()
    assert said.err == f"port25lab: {name}: {option} would overwrite a file that the run reads; another file\n"
    assert engine.asked == []
    assert (own_scenario / name).read_bytes() == before
    assert port25lab("run", "my.yaml", option, "mine/new", "--pcap", "packets") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--json", "x", "--junit", "./x"), "x: --junit and --json are the same file"),
        (("--json", "-", "--junit", "-"), "-: two outputs to standard output"),
        (("--json", "x", "--pcap", "x"), "x: --pcap and --json are the same file"),
        (("--pcap", "-"), "-: captures are files, and standard output is none"),
        (("--json", "x", "--pcap", "new/deep", "--ref", "S99"), "no path has the ref 'S99'"),
    ],
)
def test_bad_outputs_are_refused_and_nothing_is_made(
    port25lab: Command, engine: Engine, arguments: tuple[str, ...], words: str, own_scenario: Path, capsys: Any
) -> None:
    before = sorted(path.name for path in own_scenario.iterdir())
    assert port25lab("run", "my.yaml", *arguments) == 2
    assert words in capsys.readouterr().err
    assert engine.asked == []
    assert [name for name in sorted(path.name for path in own_scenario.iterdir()) if name != "__pycache__"] == before


# -- a reader that leaves, a full disk: real streams -------------------------------------------------------------------


def piped(shell: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which ``port25lab`` is the command; ``exit`` codes of a pipe are said on stderr."""
    script = f'port25lab() {{ "{sys.executable}" -m port25lab "$@"; }}\n{shell}\necho "exit ${{PIPESTATUS[*]}}" >&2\n'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60, **more)


@pytest.mark.parametrize("command", ["schema", "list", "--help", "run --help"])
def test_a_reader_that_leaves_early_is_no_error(command: str) -> None:
    done = piped(f"port25lab {command} | true")
    assert done.stderr == "exit 0 0\n"


@pytest.mark.parametrize("command", ["schema", "list", "--help", "run --help"])
def test_a_full_disk_behind_standard_output_is_one_line_and_exit_4(command: str) -> None:
    done = piped(f"port25lab {command} > /dev/full")
    assert done.stderr == "port25lab: standard output: cannot be written: No space left on device\nexit 4\n"


def test_an_error_that_cannot_be_told_keeps_its_exit_code() -> None:
    for closed in ("/dev/full", "&-"):
        assert piped(f"port25lab run no-such 2>{closed}").stderr == "exit 2\n"


def test_closed_standard_output_takes_no_results(tmp_path: Path) -> None:
    done = piped("port25lab run hotel --json - >&-", cwd=tmp_path)
    assert done.stderr == "port25lab: -: is not open for writing; a file\nexit 2\n"


def test_a_result_and_the_tables_in_one_file_are_refused(tmp_path: Path) -> None:
    done = piped("port25lab run hotel --json out > out", cwd=tmp_path)
    assert done.stderr.startswith("port25lab: out: --json and standard output are the same file")
    assert done.stderr.endswith("exit 2\n")


@pytest.mark.parametrize("number", ["INT", "TERM"])
def test_ctrl_c_while_a_topology_file_runs_ends_the_command(own_scenario: Path, number: str) -> None:
    code = f"import os, signal, time\nos.kill(os.getpid(), signal.SIG{number})\ntime.sleep(5)\n"
    (own_scenario / "my.py").write_text(code)
    done = piped("port25lab run my.yaml")
    assert (
        done.stderr == f"port25lab: interrupted; nothing is left behind\nexit {128 + signal.Signals[f'SIG{number}']}\n"
    )


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("import sys; sys.exit()", "SystemExit; a topology file may not end the program"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("open('/no/such')", "FileNotFoundError: [Errno 2] No such file or directory: '/no/such'"),
    ],
)
def test_a_topology_file_cannot_end_the_command(own_scenario: Path, statement: str, words: str) -> None:
    (own_scenario / "my.py").write_text(f"x = 1\n{statement}\n")
    done = piped("port25lab run my.yaml")
    assert done.stderr == f"port25lab: my.py:2: {words}\nexit 2\n"
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "hotell"), "no scenario 'hotell'; did you mean 'hotel'?"),
        (("run", "hotel", "--ref", "S55"), "no path has the ref 'S55'; did you mean 'S5'?"),
        (("run", "hotel", "-k", "and"), "-k 'and', column 1: a word is missing before 'and'"),
        (("run", "hotel", "-k", "nobody"), "no path matches -k 'nobody'"),
        (("run", "hotel", "-j", "0"), "Invalid value for '-j'"),
        (("run", "--no-such-option"), "No such option"),
        (("no-such-command",), "No such command 'no-such-command'"),
    ],
)
def test_exit_2_for_bad_usage(
    port25lab: Command, engine: Engine, arguments: tuple[str, ...], words: str, capsys: Any
) -> None:
    assert port25lab(*arguments) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""
    assert engine.asked == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("what; allowed", file="f.yaml", line=3, column=7), 2),
        (MachineError("nft is not installed", "sudo apt-get install nftables"), 3),
        (LabError("the sandbox helper did not start"), 1),
    ],
)
def test_an_error_of_ours_is_one_line_and_its_exit_code(
    port25lab: Command, engine: Engine, error: Exception, code: int, capsys: Any
) -> None:
    engine.raises = error
    assert port25lab("run", "hotel") == code
    assert capsys.readouterr().err == f"port25lab: {error}\n"


@pytest.mark.parametrize("text", ["[bold]no[/bold] [/red]", "rules.v4:100: no :smile:"])
def test_an_error_with_marks_of_rich_is_printed_as_it_is(
    port25lab: Command, engine: Engine, text: str, capsys: Any
) -> None:
    engine.raises = InputError(text)
    port25lab("run", "hotel")
    assert capsys.readouterr().err == f"port25lab: {text}\n"


def test_a_machine_that_lacks_something_is_told_before_scenarios_are_read(
    port25lab: Command, engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def lacking() -> None:
        raise MachineError("nft is not installed", "sudo apt-get install nftables")

    monkeypatch.setattr(doctor, "require", lacking)
    assert port25lab("run", "no-such-scenario") == 3
    assert "nft is not installed; sudo apt-get install nftables" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_run_with_its_own_exit_code(
    port25lab: Command, engine: Engine, monkeypatch: pytest.MonkeyPatch, number: str, capsys: Any
) -> None:

    def interrupted(*_: Any, **__: Any) -> None:
        signal.raise_signal(signal.Signals[number])

    monkeypatch.setattr(engine_module, "run", interrupted)
    assert port25lab("run", "hotel") == 128 + signal.Signals[number]
    assert capsys.readouterr().err == "port25lab: interrupted; nothing is left behind\n"


def test_the_schema_is_json(port25lab: Command, capsys: Any) -> None:
    assert port25lab("schema") == 0
    assert json.loads(capsys.readouterr().out)["properties"]["paths"]


def test_the_list_has_one_line_for_each_thing(port25lab: Command, capsys: Any) -> None:
    assert port25lab("list") == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("residential_isp", "op25b", "hotel"):
        assert [line for line in lines if line.split()[:1] == [name]]


@pytest.mark.parametrize(("missing", "code"), [(False, 0), (True, 3)])
def test_the_doctors_exit_code(
    port25lab: Command, monkeypatch: pytest.MonkeyPatch, missing: bool, code: int, capsys: Any
) -> None:
    problem = ("not installed", "not installed", "sudo apt-get install nftables") if missing else ("/usr/sbin/nft",)
    checks = [
        feature.Check("nft", True, "the trace", *problem),
        feature.Check("tshark", False, "packets", "no", "no", "sudo apt-get install tshark"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda: checks)
    assert port25lab("doctor") == code
    assert ("sudo apt-get install nftables" in capsys.readouterr().out) == missing


def test_help_has_examples_and_says_the_exit_codes(port25lab: Command, capsys: Any) -> None:
    assert port25lab("run", "--help") == 0
    said = capsys.readouterr().out
    assert "Examples" in said
    assert "port25lab run --ref S3" in said
    assert port25lab("--help") == 0
    assert "Exit codes: 0 every expectation met; 1 some not" in " ".join(capsys.readouterr().out.split())


def test_a_shell_completes_names_of_scenarios() -> None:
    environment = os.environ | {
        "_PORT25LAB_COMPLETE": "complete_bash",
        "COMP_WORDS": "port25lab run res",
        "COMP_CWORD": "2",
    }
    code = "import sys; sys.argv = ['port25lab']; from port25lab.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["residential"]
