"""Faults of ``place_truth`` put into one running lab of ``avenue``, batch by batch, and probed from its clients."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from client_only import CA, PROGRAM, WITHOUT_PRIVILEGES
from place_truth import PORTS, SERVED, Fault
from port25lab.lab import protocol
from port25lab.lab.handle import Lab
from port25lab.model.mechanism import Mechanism
from port25lab.probe.case import Diagnosis
from port25lab.probe.classify import classify
from port25lab.probe.client_view import ClientView

AVENUE = Path(__file__).with_name("avenue.py")

SECONDS = 8.0

NOBODY = 65534

RESTORE = {4: "iptables-restore", 6: "ip6tables-restore"}

Job = tuple[str, Sequence[str], str]
"""A node, a program with its arguments, and its input."""


def run_all(lab: Lab, jobs: Iterable[Job], seconds: float = 120.0) -> list[protocol.ProgramDone]:
    """Run programs in nodes of a lab side by side."""
    order = [
        lab._send(protocol.RunProgram(node=node, argv=list(argv), stdin=stdin, seconds=seconds))
        for node, argv, stdin in jobs
    ]
    done: dict[int, protocol.ProgramDone] = {}
    while len(done) < len(order):
        numbered = lab._receive()
        assert isinstance(numbered.answer, protocol.ProgramDone), numbered.answer
        done[numbered.number] = numbered.answer
    return [done[number] for number in order]


@dataclass(frozen=True)
class Prober:
    """A client, and how it probes. ``user``: whom rules about users are about."""

    node: str
    privileged: bool

    @property
    def user(self) -> int:
        return NOBODY if self.privileged else 0

    def job(self, hosts: Sequence[str]) -> Job:
        asked = [[host, False, [4, 6], PORTS, SECONDS, 25, None] for host in hosts]
        prefix = () if self.privileged else WITHOUT_PRIVILEGES
        return self.node, ("env", CA, *prefix, sys.executable, "-c", PROGRAM), json.dumps(asked)


@dataclass(frozen=True)
class Seen:
    """What one prober saw of a fault, and what was concluded."""

    fault: Fault
    prober: Prober
    view: ClientView

    def answers(self) -> Iterator[tuple[int, int, Diagnosis]]:
        for port in PORTS:
            for version in (4, 6):
                diagnosis = classify(self.view, port, version)
                assert diagnosis is not None
                yield port, version, diagnosis

    def wrong(self) -> list[str]:
        """Diagnoses that do not have the truth."""
        return [
            f"{self.fault} [{'root' if self.prober.privileged else 'unprivileged'}], {port} IPv{version}: {diagnosis!r}"
            for port, version, diagnosis in self.answers()
            if not self._right(port, version, diagnosis)
        ]

    def _right(self, port: int, version: int, diagnosis: Diagnosis) -> bool:
        said = {*diagnosis.candidates, *diagnosis.also}
        if not self.fault.affects(port, version):
            return (Mechanism.NONE if port in SERVED else Mechanism.NO_LISTENER) in said
        places = {diagnosis.place, *diagnosis.places}
        return self.fault.mechanism(port) in said and self.fault.place in places


Row = tuple[Fault, Prober]


def look(lab: Lab, batch: Sequence[Row]) -> list[Seen]:
    """Put faults into the lab, each about a server of its own, probe from the clients, and take them out again."""
    servers = {row: number for number, row in enumerate(batch, 1)}
    rules = _rules(servers)
    _put(lab, rules)
    try:
        of_each = {prober: [row for row in batch if row[1] == prober] for _, prober in batch}
        jobs = [prober.job([f"mx.s{servers[row]}.example" for row in rows]) for prober, rows in of_each.items()]
        done = run_all(lab, jobs)
    finally:
        _put(lab, {where: [line.replace("-A ", "-D ", 1) for line in lines] for where, lines in rules.items()})
    seen = []
    for (prober, rows), one in zip(of_each.items(), done, strict=True):
        assert one.returncode == 0, one.stderr
        _, views = json.loads(one.stdout)
        seen += [Seen(fault, prober, ClientView.model_validate(v)) for (fault, _), v in zip(rows, views, strict=True)]
    return seen


Rules = dict[tuple[str, int, str], list[str]]
"""By node, IP version and table."""


def _rules(servers: Mapping[Row, int]) -> Rules:
    rules: Rules = defaultdict(list)
    for (fault, prober), server in servers.items():
        node = {"pc": prober.node, "server": f"server-{server}"}.get(fault.node, fault.node)
        for version, table, rule in fault.rules(server, prober.user):
            rules[node, version, table].append(rule)
    return rules


def _put(lab: Lab, rules: Rules) -> None:
    texts: dict[tuple[str, int], str] = defaultdict(str)
    for (node, version, table), lines in rules.items():
        texts[node, version] += "\n".join([f"*{table}", *lines, "COMMIT", ""])
    jobs = [(node, (RESTORE[version], "--noflush"), text) for (node, version), text in texts.items()]
    for done in run_all(lab, jobs):
        assert done.returncode == 0, done.stderr
