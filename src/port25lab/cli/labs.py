"""What ``up``, ``ps``, ``inspect``, ``exec``, ``shell`` and ``down`` do."""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import typer

from port25lab.cli import shell
from port25lab.cli.check import mirror_of
from port25lab.cli.times import seconds_of
from port25lab.engine import live, needs
from port25lab.errors import InputError, nearest
from port25lab.evidence import live_capture
from port25lab.kernel import own_python
from port25lab.lab import keeper, registry
from port25lab.lab import live_messages as messages
from port25lab.machine import doctor
from port25lab.model.counters import NodeCounters
from port25lab.model.question import LabConfig
from port25lab.report import graph as graph_module
from port25lab.report import live_text
from port25lab.scenario import catalogue, own_policies
from port25lab.scenario.checks import config_of, without_place
from port25lab.scenario.mirror_network import ROUTER
from port25lab.scenario.questions import lab_config, load_questions

LONGEST_ARGUMENT = (1 << 17) - 1
"""Bytes of one argument of a program (execve(2))."""

FOLLOW_SECONDS = 0.2
"""How often new lines of a log are asked for."""


def config_from(what: Sequence[str], policies: Sequence[str]) -> LabConfig:
    """The lab that the user means: a topology, SCENARIO/VARIANT, or the mirror of a router's files.

    Raises InputError for the first thing that is wrong.
    """
    stacks = own_policies.read_own(policies)
    first, is_one = what[0], len(what) == 1
    if is_one and (first.endswith(".py") or first in catalogue.all_names("topologies")):
        return lab_config(first, stacks, {})
    if is_one and (found := _of_scenario(first, stacks)) is not None:
        return found
    if is_one and not Path(first).exists():
        known = dict.fromkeys([*catalogue.all_names("topologies"), *catalogue.all_names("scenarios")])
        raise InputError(f"no topology, no scenario and no file {first!r}", allowed=nearest(first, known))
    if policies:
        raise InputError("--policy with a router's own files", allowed="--policy with a topology or a scenario")
    made = mirror_of(what)
    return LabConfig(plan=made.plan, policies=((ROUTER, (made.policy,)),))


def _of_scenario(text: str, stacks: dict[str, tuple[str, ...]]) -> LabConfig | None:
    """A variant of a scenario; None where the text names no scenario."""
    name, variant = text, None
    if not _is_scenario(name):
        name, separator, variant = text.rpartition("/")
        if not (separator and _is_scenario(name)):
            return None
    configs = {question.variant: question.config for question in load_questions(name)}
    if stacks:
        return config_of(next(iter(configs.values())).plan, stacks, without_place)
    if variant is None:
        ruled = [one for one, config in configs.items() if config.policies] or list(configs)
        if len(ruled) > 1:
            raise InputError(f"{name} has several variants", allowed=" or ".join(f"{name}/{one}" for one in configs))
        variant = ruled[0]
    if variant not in configs:
        raise InputError(f"{name} has no variant {variant!r}", allowed=nearest(variant, configs))
    return configs[variant]


def _is_scenario(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or name in catalogue.all_names("scenarios")


def up(what: Sequence[str], policies: Sequence[str], name: str | None, time_limit: str | None) -> None:
    """Start a lab that stays up."""
    seconds = None if time_limit is None else seconds_of("--for", time_limit)
    doctor.require()
    config = config_from(what, policies)
    needs.require_features(config)
    name = name or re.sub(r"[^A-Za-z0-9_.-]", "-", config.plan.name).strip("-.")[:40] or "lab"
    contents = messages.Contents(plan=config.plan, policies=needs.policies_of(config))
    started = time.perf_counter()
    keeper.start(name, contents, seconds)
    stacks = live_text.stacks(contents.policies)
    typer.echo(f"lab {name} is up: {config.plan.name}, {stacks or 'no policy'}, {time.perf_counter() - started:.1f} s")


def ps(as_json: bool) -> None:
    """The labs that are up."""
    now, found = time.time(), live.up()
    rows = [
        live_text.LabRow(
            name=name,
            topology=lab.contents.plan.name if lab else "-",
            policies=live_text.stacks(lab.contents.policies) if lab else "-",
            up_seconds=now - lab.since if lab else None,
            left_seconds=lab.ends - now if lab and lab.ends is not None else None,
            keeper=lab.keeper if lab else None,
        )
        for name, lab in found
    ]
    if as_json:
        typer.echo(json.dumps([vars(row) for row in rows], indent=2))
    else:
        typer.echo("\n".join(live_text.lab_lines(rows)))


def inspect(lab: str | None, as_json: bool) -> None:
    """Nodes, interfaces, addresses, services and policies of a lab."""
    with live.LiveLab(lab) as running:
        found, counted = running.describe(), running.counters()
    contents = found.contents
    if as_json:
        nodes = {name: node.model_dump(mode="json") for name, node in contents.plan.nodes.items()}
        policies = {node: [one.name for one in stack] for node, stack in contents.policies.items()}
        data = {"name": found.name, "topology": contents.plan.name, "since": found.since, "ends": found.ends}
        data |= {"keeper": found.keeper, "pid": found.pid, "policies": policies, "nodes": nodes}
        data["counters"] = {name: one.model_dump(mode="json") for name, one in counted.items()}
        typer.echo(json.dumps(data, indent=2))
    else:
        typer.echo("\n".join(live_text.node_lines(contents.plan, contents.policies, counted)))


def execute(node: str, command: Sequence[str], lab: str | None) -> int:
    """Run a command in a node. Returns its exit code."""
    with live.LiveLab(lab) as running:
        place = running.enter(node)
    sys.stdout.flush()
    return shell.run_in(place, node, shlex.join(command) if command else '"${SHELL:-/bin/sh}"')


def shell_in(node: str | None, lab: str | None) -> int:
    """A shell in a node; asks for the node where none is given and a person is there. Returns the exit code."""
    if node is None:
        with live.LiveLab(lab) as running:
            lab, nodes = running.name, list(running.describe().contents.plan.nodes)
        if not sys.stdin.isatty():
            raise InputError("no node for the shell", allowed=", ".join(nodes))
        typer.echo(f"nodes: {', '.join(nodes)}", err=True)
        node = str(typer.prompt("shell in node", err=True))
    return execute(node, [], lab)


def mininet_prompt(lab: str | None) -> int:
    """Mininet's own prompt on a lab. Returns the exit code."""
    from port25lab.network import running_net  # imports Mininet

    with live.LiveLab(lab) as running:
        plan = running.describe().contents.plan
        places = {node: running.enter(node) for node in plan.nodes}
    name, place = next(iter(places.items()))
    networks = {node: found.network for node, found in places.items()}
    command = own_python.command(running_net.PROGRAM, plan=plan.model_dump_json(round_trip=True), networks=networks)
    if max(map(len, command)) > LONGEST_ARGUMENT:
        raise InputError(f"{len(networks)} nodes are too many for Mininet's prompt", allowed="port25lab exec NODE")
    sys.stdout.flush()
    return shell.run_in(place, name, shlex.join(command), confined=False)


def logs(nodes: Sequence[str], lab: str | None, follow: bool) -> None:
    """What the services of a lab did. ``follow``: go on until a signal, or the end of the lab."""
    with live.LiveLab(lab) as running:
        for node in nodes:
            running.require_node(node)
        known = 0
        while True:
            lines, known = running.log(known, nodes)
            for line in live_text.log_lines(lines):
                typer.echo(line)
            if not follow:
                return
            sys.stdout.flush()
            time.sleep(FOLLOW_SECONDS)


def down(names: Sequence[str], every: bool, lab: str | None) -> None:
    """End labs."""
    wanted: list[str | None] = [*(registry.names() if every else names)]
    if not wanted and not every:
        wanted = [lab]
    for name in wanted:
        with live.LiveLab(name) as running:
            running.end()
            typer.echo(f"lab {running.name} is down")


def capture(node: str, interface: str, lab: str | None) -> int:
    """Packets of an interface to standard output. Returns the exit code."""
    if sys.stdout.isatty():
        raise InputError("a capture is no text for a terminal", allowed="| wireshark -k -i -, or > FILE.pcapng")
    with live.LiveLab(lab) as running:
        place = running.enter(node)
        plan = running.describe().contents.plan.nodes[node]
    interfaces = [*(port.name for port in plan.interfaces), *plan.bridges, "lo"]
    if interface not in interfaces:
        raise InputError(f"{node} has no interface {interface!r}", allowed=nearest(interface, interfaces))
    command = own_python.command(live_capture.PROGRAM, node=node, interface=interface)
    return shell.run_in(place, node, shlex.join(command), confined=False)


def graph(topology: str | None, policies: Sequence[str], lab: str | None, drawing: str) -> None:
    """Draw a topology, or that of a running lab."""
    if drawing not in graph_module.FORMATS:
        raise InputError(f"--format {drawing!r}", allowed=nearest(drawing, graph_module.FORMATS))
    if topology is not None and lab is not None:
        raise InputError("a topology and --lab", allowed="one of them")
    counted: dict[str, NodeCounters] = {}
    if topology is not None:
        config = config_from([topology], policies)
    else:
        with live.LiveLab(lab) as running:
            config, counted = running.config(), running.counters()
    typer.echo(graph_module.FORMATS[drawing](config.plan, config.policy_names, counted))
