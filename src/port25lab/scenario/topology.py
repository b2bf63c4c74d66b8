"""A topology: a Mininet ``Topo`` read from its file and turned into a plan, which is plain data.

The plan crosses to the lab's process as JSON, so the user's Python code runs once, as the user, and never inside a lab.
What a node may say of itself (its parameters) is written down in docs/topologies.md.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from ipaddress import ip_interface, ip_network
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from port25lab.errors import InputError, Interrupted, Port25labError, nearest
from port25lab.model.plan import NodePlan, Plan
from port25lab.scenario import catalogue


def load_topology(
    name_or_path: str, parameters: Mapping[str, Any] | None = None, relative_to: Path | None = None
) -> Plan:
    """Read a topology from the catalogue or from a file and build its plan.

    Raises InputError where the file, its parameters or its addresses are wrong.
    """
    file, given = catalogue.find("topologies", name_or_path, relative_to), dict(parameters or {})
    with _foreign_code(file):
        return plan_of(_construct(_topo_class(file, _module(file)), file, given), file, given)


def describe(name: str) -> str:
    """The first line of what a topology says of itself."""
    file = catalogue.find("topologies", name, None)
    with _foreign_code(file):
        return (inspect.getdoc(_topo_class(file, _module(file))) or "").split("\n", 1)[0]


def plan_of(topo: Any, file: Path, parameters: dict[str, Any]) -> Plan:
    """Turn a Mininet ``Topo`` into a plan. Switches are refused: a bridge is a parameter of the node that has it."""
    if topo.switches():
        raise InputError(
            f"switch {topo.switches()[0]!r} in the topology",
            allowed="nodes linked point to point, and `bridges` inside a node",
            file=file,
        )
    interfaces: dict[str, list[dict[str, Any]]] = {name: [] for name in topo.hosts()}
    links = []
    for first, second, info in topo.links(sort=False, withInfo=True):
        # Mininet sorts each pair of names; the link's own info keeps the order of the author.
        ends = []
        for side, node in ((1, info.get("node1", first)), (2, info.get("node2", second))):
            name = info.get(f"intfName{side}") or f"{node}-eth{info[f'port{side}']}"
            given = info.get(f"params{side}") or {}
            interfaces[node].append({"name": name, "ip": given.get("ip"), "ip6": given.get("ip6")})
            ends.append((node, name))
        (node1, interface1), (node2, interface2) = ends
        links.append({"node1": node1, "interface1": interface1, "node2": node2, "interface2": interface2})
    nodes = {}
    for name in topo.hosts():
        given = {key: value for key, value in topo.nodeInfo(name).items() if key in _NODE_PARAMETERS}
        given["routes"] = [_route(file, name, to, via) for to, via in given.get("routes", ())]
        nodes[name] = {"name": name, "interfaces": interfaces[name], **given}
    try:
        return Plan.model_validate(
            {
                "name": file.stem,
                "file": file,
                "parameters": parameters,
                "nodes": nodes,
                "links": links,
                "sets": getattr(topo, "sets", {}),
            }
        )
    except ValidationError as error:
        first_error = error.errors()[0]
        # Of a union, pydantic names each member that it tried in brackets.
        place = " ".join(str(part) for part in first_error["loc"] if "[" not in str(part))
        raise InputError(f"{place}: {first_error['msg']} (got {first_error['input']!r})", file=file) from None


_NODE_PARAMETERS = set(NodePlan.model_fields) - {"name", "interfaces"}


def _route(file: Path, node: str, to: str, via: str) -> dict[str, Any]:
    try:
        gateway = None if via == "blackhole" else ip_interface(via).ip
        if to == "default":
            return {"to": "::/0" if gateway is not None and gateway.version == 6 else "0.0.0.0/0", "via": gateway}
        return {"to": ip_network(to), "via": gateway}
    except ValueError as error:
        raise InputError(f"node {node!r}, route {to!r} via {via!r}: {error}", file=file) from None


@contextmanager
def _foreign_code(file: Path) -> Iterator[None]:
    """Run code of a topology file: whatever it raises becomes an InputError with the line of the file.

    What it prints goes to standard error, for standard output is for results.
    """
    code = str(file.absolute())  # as the import system names it, and before the file can change the folder
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Port25labError, Interrupted):
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and _may_be_ctrl_c():
            raise
        raise _complaint(file, code, error) from error


def _may_be_ctrl_c() -> bool:
    """Whether a KeyboardInterrupt may come from the keyboard, as in pytest: then it ends everything.

    In the command it does not come from there, since signals raise Interrupted; nor in any thread but the main one.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _complaint(file: Path, code: str, error: BaseException) -> InputError:
    """``FILE:LINE: KIND: text``, with the innermost line of the file that led to the error.

    ``code``: the file's name in tracebacks.
    """
    if isinstance(error, SyntaxError) and error.filename == code:
        return InputError(str(error.msg), file=file, line=error.lineno or None, column=error.offset or None)
    what, allowed = type(error).__name__, ""
    if isinstance(error, SyntaxError):
        what = f"{what}: {error.msg} ({error.filename}:{error.lineno})"
    elif text := _text(error):
        what = f"{what}: {text}"
    if isinstance(error, SystemExit):
        allowed = "a topology file may not end the program"
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [line for at, line in frames if at == code]
    if frames and frames[-1][0] != code and Path(frames[-1][0]).parent == Path(code).parent:
        what += f" ({frames[-1][0]}:{frames[-1][1]})"  # raised in a module beside the file
    return InputError(what, allowed=allowed, file=file, line=own[-1] if own else None)


def _text(error: BaseException) -> str:
    """The error's own text, on one line."""
    try:
        return " ".join(str(error).split())
    except Exception:
        return ""  # its __str__ is the file's code as well


def _module(file: Path) -> ModuleType:
    """Run a topology file, with its siblings importable, as `mn --custom` does."""
    name = f"port25lab_topology_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InputError("not a Python file", allowed="a file NAME.py with a Mininet Topo", file=file)
    module = importlib.util.module_from_spec(spec)
    folder = str(file.absolute().parent)  # Python remembers what was in ".", although the current folder may change
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    finally:
        with suppress(ValueError):  # the file took it away itself
            sys.path.remove(folder)
    return module


def _topo_class(file: Path, module: ModuleType) -> type:
    topos = getattr(module, "topos", None)
    if not topos or not isinstance(topos, Mapping):
        raise InputError(
            "no `topos` in the file", allowed="topos = {'NAME': TopoSubclass}, as `mn --custom` wants", file=file
        )
    name = file.stem if topos.get(file.stem) else next(iter(topos))
    found = topos[name]
    if not isinstance(found, type) or "mininet.topo" not in {cls.__module__ for cls in found.__mro__}:
        raise InputError(f"topos[{name!r}] is {found!r}", allowed="a subclass of mininet.topo.Topo", file=file)
    return found


def _construct(topo_class: type, file: Path, parameters: dict[str, Any]) -> Any:
    known = _parameters(topo_class)
    for name in parameters:
        if name not in known:
            raise InputError(
                f"unknown parameter {name!r} of topology {file.stem}", allowed=nearest(name, known), file=file
            )
    try:
        return topo_class(**parameters)
    except (ValueError, TypeError) as error:
        text = _text(error)
        if not any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for name in parameters):
            raise
        # About what was given, not about the file: no line of the file, and a scenario puts its own place to it.
        raise InputError(f"topology {file.stem}: {text}", file=file) from error


def _parameters(topo_class: type) -> set[str]:
    """Names of the constructor's or of Mininet's ``build`` method's own parameters, over the whole class tree."""
    names: set[str] = set()
    for cls in topo_class.__mro__:
        for method in ("__init__", "build"):
            if method in vars(cls) and cls.__module__ != "mininet.topo":
                names |= {
                    p.name
                    for p in inspect.signature(vars(cls)[method]).parameters.values()
                    if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
                }
    return names - {"self"}
