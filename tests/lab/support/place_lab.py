"""Rows of ``place_truth`` put into one running lab of ``avenue``, batch by batch, and probed from its clients."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from client_only import CA, PROGRAM, WITHOUT_PRIVILEGES
from place_truth import PORTS, SERVED, Fault, Row
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

SHARED = {False: "pc-1", True: "pc-2"}
"""The clients of rows whose rules are elsewhere: the one without privileges, and the one of root."""

OWN = ("pc-3", "pc-4", "pc-5", "pc-6")
"""Clients for rows whose rules are on the client."""

SERVERS = (tuple(range(1, 11)), (*range(11, 20), 21))
"""Those of a batch, in turn: a server sends few ICMP errors in a second, and the next batch wants some, too."""

Job = tuple[str, Sequence[str], str]
"""A node, a program with its arguments, and its input."""


def start(lab: Lab, node: str, *argv: str) -> None:
    """Start a program in a node, which runs until the lab ends. ``run_all`` leaves its end out."""
    lab._send(protocol.RunProgram(node=node, argv=list(argv), stdin="", seconds=600))


def run_all(lab: Lab, jobs: Iterable[Job], seconds: float = 120.0) -> list[protocol.ProgramDone]:
    """Run programs in nodes of a lab side by side."""
    order = [
        lab._send(protocol.RunProgram(node=node, argv=list(argv), stdin=stdin, seconds=seconds))
        for node, argv, stdin in jobs
    ]
    done: dict[int, protocol.ProgramDone] = {}
    while not done.keys() >= set(order):
        numbered = lab._receive()
        assert isinstance(numbered.answer, protocol.ProgramDone), numbered.answer
        done[numbered.number] = numbered.answer
    return [done[number] for number in order]


def probe_job(node: str, hosts: Sequence[str], privileged: bool) -> Job:
    """A prober: one process, all hosts at once."""
    asked = [[host, False, [4, 6], PORTS, SECONDS, 25, None] for host in hosts]
    prefix = () if privileged else WITHOUT_PRIVILEGES
    return node, ("env", CA, *prefix, sys.executable, "-c", PROGRAM), json.dumps(asked)


def views_of(done: protocol.ProgramDone) -> tuple[float, list[ClientView]]:
    """For how many seconds a prober got no processor, and what it saw."""
    assert done.returncode == 0, done.stderr
    starved, views = json.loads(done.stdout)
    return starved, [ClientView.model_validate(view) for view in views]


@dataclass(frozen=True)
class Seen:
    """What a prober saw of a row."""

    row: Row
    view: ClientView
    starved: float

    def answers(self) -> Iterator[tuple[Fault | None, int, Diagnosis]]:
        """For each port over each IP version: the truth, the port and the diagnosis."""
        for port in PORTS:
            for version in (4, 6):
                diagnosis = classify(self.view, port, version)
                assert diagnosis is not None
                yield self.row.truth(port, version), port, diagnosis

    def wrong(self) -> list[str]:
        """Diagnoses without the truth in them."""
        return [
            f"{self.row}, {port} IPv{diagnosis.ip_version}: {diagnosis!r}"
            for fault, port, diagnosis in self.answers()
            if not right(fault, port, diagnosis)
        ]


def right(fault: Fault | None, port: int, diagnosis: Diagnosis) -> bool:
    """Whether a diagnosis has the truth: mechanism and place. ``fault``: None where nothing is wrong."""
    said = {*diagnosis.candidates, *diagnosis.also}
    if fault is None:
        return (Mechanism.NONE if port in SERVED else Mechanism.NO_LISTENER) in said
    return fault.mechanism(port) in said and fault.place in (diagnosis.place, *diagnosis.places)


def batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Batches that fit into the lab: each row needs a server, and rules of a client one client."""
    own = [row for row in rows if row.of_client]
    others = [row for row in rows if not row.of_client]
    while own or others:
        mine, own = own[: len(OWN)], own[len(OWN) :]
        room = len(SERVERS[0]) - len(mine)
        yield [*mine, *others[:room]]
        others = others[room:]


def look(lab: Lab, batch: Sequence[Row], number: int = 0) -> list[Seen]:
    """Put the faults of rows into the lab, probe, and take them out again. ``number``: of the batch."""
    servers = dict(zip(batch, SERVERS[number % len(SERVERS)], strict=False))
    clients = dict(zip((row for row in batch if row.of_client), OWN, strict=False))
    clients |= {row: SHARED[row.privileged] for row in batch if not row.of_client}
    rules = _rules(servers, clients)
    _put(lab, rules)
    try:
        of_each: dict[tuple[str, bool], list[Row]] = defaultdict(list)
        for row in batch:
            of_each[clients[row], row.privileged].append(row)
        jobs = [
            probe_job(client, [f"mx.s{servers[row]}.example" for row in mine], privileged)
            for (client, privileged), mine in of_each.items()
        ]
        done = run_all(lab, jobs)
    finally:
        _put(lab, {where: [line.replace("-A ", "-D ", 1) for line in lines] for where, lines in rules.items()})
    seen = []
    for mine, one in zip(of_each.values(), done, strict=True):
        starved, views = views_of(one)
        seen += [Seen(row, view, starved) for row, view in zip(mine, views, strict=True)]
    return seen


Rules = dict[tuple[str, int, str], list[str]]
"""By node, IP version and table."""


def _rules(servers: Mapping[Row, int], clients: Mapping[Row, str]) -> Rules:
    rules: Rules = defaultdict(list)
    for row, server in servers.items():
        for fault in row.faults:
            node = {"pc": clients[row], "server": f"server-{server}"}.get(fault.node, fault.node)
            for version, table, rule in fault.rules(server, NOBODY if row.privileged else 0):
                rules[node, version, table].append(rule)
    return rules


def _put(lab: Lab, rules: Rules) -> None:
    texts: dict[tuple[str, int], str] = defaultdict(str)
    for (node, version, table), lines in rules.items():
        texts[node, version] += "\n".join([f"*{table}", *lines, "COMMIT", ""])
    for done in run_all(
        lab, [(node, (RESTORE[version], "--noflush"), text) for (node, version), text in texts.items()]
    ):
        assert done.returncode == 0, done.stderr
