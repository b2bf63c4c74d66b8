"""How long does the conformance suite of one policy take, and where is the time spent?

    python bench/conformance.py                              op25b-strict, all rows over both IP versions, 5 rounds
    python bench/conformance.py --suite conformance/ip25b    the suite for inbound port 25
    python bench/conformance.py --variant syn --rounds 3     another preset

All rows of the suite are tried at once in one lab that has the policy, as `port25lab run` does. The baseline tries the
same rows in the same kind of lab one after another, as a script would: the difference is what waiting for all rows
together saves. In both ways each outcome has to be the one that the suite expects. Last comes the whole command for one
policy, with its control lab, which a user waits for: it has to stay below the limit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table

from port25lab.lab.handle import Lab
from port25lab.lab.sandboxes import Sandboxes
from port25lab.model.evidence import Evidence
from port25lab.model.path import PathSpec
from port25lab.model.question import Question
from port25lab.scenario import questions as questions_module
from port25lab.scenario.policy import load_policy
from port25lab.scenario.topology import load_topology
from port25lab.verdict.pipeline import classify

LIMIT_SECONDS = 8.0


@dataclass
class Round:
    """The measurement of one lab and all rows in it."""

    forkserver: float
    """Seconds until the fork server can start a sandbox: Python and the engine are imported."""
    lab: float
    """Seconds from there until the services answer. Has the import of scapy, which a run needs once for all labs."""
    phases: dict[str, float]
    rows: float
    """Seconds until the last row is answered."""
    by_kind: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)

    @property
    def whole(self) -> float:
        return self.forkserver + self.lab + self.rows


def one_round(questions: list[Question], *, side_by_side: bool) -> Round:
    """Build the lab of these questions, and answer all of them, at once or one after the other."""
    config, paths = questions[0].config, [question.path for question in questions]
    plan = load_topology(str(config.topology), dict(config.parameters))
    policies = {node: [load_policy(str(folder)) for folder in folders] for node, folders in config.policies}
    expected = {question.path: question.expected for question in questions}
    clock = time.perf_counter()
    with Sandboxes() as sandboxes:
        forkserver, clock = _lap(clock)
        with Lab(sandboxes, plan, policies, paths) as lab:
            up, clock = _lap(clock)
            found = Round(forkserver, up, lab.phases, 0.0)
            answers: Iterable[tuple[PathSpec, Evidence]] = (
                lab.attempts(paths) if side_by_side else ((path, lab.attempt(path)) for path in paths)
            )
            for path, evidence in answers:
                outcome = classify(evidence).outcome
                found.by_kind[f"{'packet' if path.packet else 'mail'}, {outcome}"].append(evidence.observation.seconds)
                if outcome is not expected[path]:
                    found.wrong.append(f"{path.source} to {path.to}, {path.packet or 'mail'}: {outcome}")
            found.rows, clock = _lap(clock)
    return found


def _lap(since: float) -> tuple[float, float]:
    now = time.perf_counter()
    return now - since, now


def whole_command(suite: str, variant: str) -> float:
    """Seconds of `port25lab run SUITE -k VARIANT`, control lab, report and all."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "port25lab", "run", suite, "-k", f"{suite}/{variant}/"]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Run both ways, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="conformance/op25b")
    parser.add_argument("--variant", default="strict")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    chosen = parser.parse_args()
    questions = [one for one in questions_module.load_questions(chosen.suite) if one.variant == chosen.variant]
    console = Console(width=100)

    together = [one_round(questions, side_by_side=True) for _ in range(chosen.rounds)]
    alone = one_round(questions, side_by_side=False)
    command = median(whole_command(chosen.suite, chosen.variant) for _ in range(chosen.rounds))

    table = Table(title=f"{chosen.suite}, {chosen.variant}: {len(questions)} rows in one lab, seconds (median)")
    for column in ("", "side by side", "one by one"):
        table.add_column(column, justify="right" if column else "left")
    middle = {name: median(getattr(one, name) for one in together) for name in ("forkserver", "lab", "rows", "whole")}
    for name in middle:
        table.add_row(name, f"{middle[name]:.2f}", f"{getattr(alone, name):.2f}")
    for phase in together[0].phases:
        table.add_row(f"  of lab: {phase}", f"{median(one.phases[phase] for one in together):.2f}", "")
    table.add_row("rows per second", *(f"{len(questions) / seconds:.0f}" for seconds in (middle["rows"], alone.rows)))
    console.print(table)

    kinds = Table(title="what the sender of a row waits, milliseconds")
    for column in ("", "rows", "side by side, median", "longest", "one by one, median"):
        kinds.add_column(column, justify="right" if column else "left")
    for kind, single in sorted(alone.by_kind.items()):
        times = [seconds for one in together for seconds in one.by_kind[kind]] or single
        numbers = (median(times), max(times), median(single))
        kinds.add_row(kind, str(len(single)), *(f"{1000 * number:.1f}" for number in numbers))
    console.print(kinds)

    wrong = [text for one in (*together, alone) for text in one.wrong]
    console.print(f"whole command, with its control lab: {command:.1f} s; the limit is {LIMIT_SECONDS:.0f} s")
    console.print(*(wrong or ["every row as expected, in every round"]), sep="\n")
    sys.exit(bool(wrong) or command > LIMIT_SECONDS)


if __name__ == "__main__":
    main()
