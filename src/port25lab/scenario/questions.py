"""A scenario: a file in, questions out. Everything in it is checked before any lab starts.

``load_questions`` checks a file (``scenario_file``) against the topology, the policies and the servers that it names,
and multiplies its paths by variants, client programs and IP versions. ``lab_config`` and ``question_about`` do the same
for questions from Python.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from port25lab.errors import InputError, nearest
from port25lab.model.client_kinds import CLIENT_KINDS
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Expected
from port25lab.model.path import DEFAULT_CLIENT, Auth, PacketFunction, PathSpec, Security
from port25lab.model.plan import NodePlan, Plan
from port25lab.model.question import LabConfig, Question
from port25lab.scenario import catalogue
from port25lab.scenario import document as document_module
from port25lab.scenario.checks import (
    PathCheck,
    check_blame,
    check_credentials,
    check_ends,
    check_packet,
    config_of,
    packet_function,
    plan_for,
    under,
    version_name,
    versions_of,
    without_place,
)
from port25lab.scenario.document import Document
from port25lab.scenario.link_conditions import conditioned
from port25lab.scenario.scenario_file import ANY, Expectation, PathEntry, ScenarioFile, TopologyChoice


def load_questions(name: str) -> list[Question]:
    """All questions of a scenario, by its name in the catalogue or the path of its file.

    Raises InputError for the first thing that is wrong in it.
    """
    return questions_of(document_module.read_yaml(catalogue.find("scenarios", name)), name)


def questions_of(document: Document, name: str) -> list[Question]:
    """All questions of a scenario that was read. ``name``: what the user called it.

    Raises InputError for the first thing that is wrong in it.
    """
    scenario = document_module.validated(document, ScenarioFile)
    plan = plan_for(scenario.topology, document.error, relative_to=document.file)
    plan = conditioned(plan, scenario.links, document.error)
    configs = {
        variant: config_of(plan, stacks, under(document.error, "variants", variant), document.file)
        for variant, stacks in scenario.variants.items()
    }
    for number, entry in enumerate(scenario.paths):
        if entry.repeat > 1 and scenario.attempts != "sequential":
            what = "`repeat` in a scenario whose attempts go side by side"
            raise document.error(what, "attempts: sequential", "paths", number, "repeat")
        PathCheck(plan, list(configs), entry, under(document.error, "paths", number)).all()
    functions = [
        packet_function(entry.packet, document.file, under(document.error, "paths", number))
        for number, entry in enumerate(scenario.paths)
    ]
    _refuse_duplicates(document, scenario, plan, functions)
    place = catalogue.scenario_name(document.file)
    return [
        Question(
            scenario=name,
            variant=variant,
            bare_id=_bare_id(path, entry.ref, plan, entry.repeat),
            name=entry.name,
            ref=entry.ref,
            path=path,
            expected=expectation.of(path.attempt).outcome,
            by=expectation.of(path.attempt).by,
            config=config,
            sequential=scenario.attempts == "sequential",
            how=expectation.of(path.attempt).how,
            repeat=entry.repeat,
            expected_from=expectation.first,
            should=entry.should,
            matrix=scenario.matrix,
            bad_auth=_bad_auth(path, plan),
            place=place,
            file=document.file,
            line=document.line("paths", number),
        )
        for variant, config in configs.items()
        for number, (entry, function) in enumerate(zip(scenario.paths, functions, strict=True))
        for path, expectation in _asked(entry, variant, function)
    ]


def lab_config(
    topology: str,
    policies: Mapping[str, str | Sequence[str]],
    parameters: Mapping[str, int | bool | str],
    relative_to: Path | None = None,
) -> LabConfig:
    """A lab, as a variant of a scenario file describes one. Raises InputError as for such a file.

    ``topology``: its name or file. ``policies``: by node, a policy's name or folder, or several in the order in which
    they are loaded. ``parameters``: of the topology. ``relative_to``: the file that asks, for paths.
    """
    choice = TopologyChoice(name=topology, parameters=dict(parameters))
    stacks = {node: (names,) if isinstance(names, str) else tuple(names) for node, names in policies.items()}
    return config_of(plan_for(choice, without_place, relative_to), stacks, without_place, relative_to)


def question_about(
    path: PathSpec,
    config: LabConfig,
    expected: Expected | None = None,
    by: str | None = None,
    how: Mechanism | None = None,
) -> Question:
    """A question from Python. Raises InputError as for a scenario file.

    ``expected``, ``by`` and ``how``: the outcome, the node whose rule should decide, and the mechanism; None: any.
    """
    plan = config.plan
    check_ends(plan, path.source, path.to, (path.ip_version,), without_place)
    check_credentials(plan, path.to, path.auth, without_place)
    check_packet(plan, path.packet, path.spoof, without_place)
    if path.made_by is None and (function := packet_function(path.packet, None, without_place)):
        path = path.model_copy(update={"packet": str(function), "made_by": function})
    if path.client not in CLIENT_KINDS:
        raise InputError(f"unknown client {path.client!r}", allowed=nearest(path.client, CLIENT_KINDS))
    if expected is not None:
        check_blame(plan, expected, by, without_place)
    stacks = ",".join(f"{node}={'+'.join(names)}" for node, names in config.policy_names.items())
    scenario, variant = config.topology.stem, stacks or "open"
    return Question(
        scenario=scenario,
        variant=variant,
        bare_id=_bare_id(path, None, plan),
        name=None,
        ref=None,
        path=path,
        expected=expected,
        by=by,
        config=config,
        sequential=False,
        how=how,
        bad_auth=_bad_auth(path, plan),
    )


def _asked(
    entry: PathEntry, variant: str, function: PacketFunction | None = None
) -> Iterator[tuple[PathSpec, Expectation]]:
    """The paths of one entry in one variant, each with its expectation."""
    if entry.variants is not None and variant not in entry.variants:
        return
    by_version = entry.expect[variant if variant in entry.expect else ANY]
    for path in _paths(entry, function):
        name = version_name(path.ip_version)
        yield path, by_version[name if name in by_version else ANY]


def _paths(entry: PathEntry, function: PacketFunction | None) -> Iterator[PathSpec]:
    for client in entry.client:
        for version, attempt in product(versions_of(entry), range(1, 1 + entry.repeat)):
            yield PathSpec(
                source=entry.source,
                to=entry.to,
                port=entry.port,
                security=entry.security,
                auth=Auth(user=entry.auth.user, password=entry.auth.password) if entry.auth else None,
                client=client,
                ip_version=version,
                recipient=entry.recipient,
                sender=entry.sender,
                attempt=attempt,
                hold=entry.hold,
                size=entry.size,
                packet=str(function) if function else entry.packet,
                made_by=function,
                spoof=entry.spoof,
            )


def _bare_id(path: PathSpec, ref: str | None, plan: Plan, repeat: int = 1) -> str:
    """A path's id within its scenario and variant."""
    parts = [
        *([ref] if ref else []),
        f"{path.source}-to-{path.to}-{path.port}",
        *([path.security.value] if path.security is not Security.NONE else []),
        *([path.auth.user] if path.auth else []),
        *(["badauth"] if _bad_auth(path, plan) else []),
        *([f"{path.size}B"] if path.size else []),
        *([path.client] if path.client != DEFAULT_CLIENT else []),
        *([path.packet] if path.packet else []),
        *([f"as-{path.spoof}"] if path.spoof else []),
    ]
    attempt = f"/{path.attempt}" if repeat > 1 else ""
    return f"{'-'.join(parts)}/{version_name(path.ip_version)}{attempt}"


def _bad_auth(path: PathSpec, plan: Plan) -> bool:
    return path.auth is not None and not _right(path.auth, plan.server(path.to))


def _right(auth: Auth, server: NodePlan | None) -> bool:
    return auth.password is None or (server is not None and server.users.get(auth.user) == auth.password)


def _refuse_duplicates(
    document: Document, scenario: ScenarioFile, plan: Plan, functions: Sequence[PacketFunction | None]
) -> None:
    seen: dict[tuple[str, str], int] = {}
    for number, entry in enumerate(scenario.paths):
        for variant in entry.variants or scenario.variants:
            for path in _paths(entry, functions[number]):
                bare = _bare_id(path, entry.ref, plan, entry.repeat)
                if (variant, bare) in seen:
                    what = f"path {number + 1} has the same id as path {seen[variant, bare] + 1}: {bare}"
                    raise document.error(what, "each path once, or a `ref` that tells them apart", "paths", number)
                seen[variant, bare] = number
