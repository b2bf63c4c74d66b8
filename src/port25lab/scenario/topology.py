"""A topology: a Mininet ``Topo`` read from its file and turned into a plan, which is plain data.

The plan crosses to the lab's process as JSON, so the user's Python code runs as the user, and never inside a lab. A
file runs once in a process, however many scenarios name it, and again only after it has changed. The parameters that a
node may have are listed in docs/topologies.md.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from port25lab.errors import InputError, Interrupted, Port25labError, nearest
from port25lab.model.plan import NodePlan, Plan
from port25lab.scenario import catalogue
from port25lab.scenario.link_conditions import of_mininet
from port25lab.scenario.own_service import with_own_files
from port25lab.scenario.plan_checks import check_plan, require_prefix, require_spelt

Stamp = tuple[int, int]
"""Time of the last change in nanoseconds, and size: what tells that a file has changed."""


@dataclass(frozen=True)
class _Loaded:
    """A topology file that has run."""

    module: ModuleType
    topo_class: type
    stamps: Mapping[Path, Stamp | None]
    """Of the file and of the modules beside it, as they were before they ran."""
    plans: dict[tuple[object, ...], Plan] = field(default_factory=dict)
    """By parameters."""


_loaded: dict[Path, _Loaded] = {}
"""By absolute path."""

_imported: dict[str, ModuleType] = {}
"""By name, the modules that topology files imported from beside them."""

_loading = threading.RLock()


def load_topology(
    name_or_path: str, parameters: Mapping[str, Any] | None = None, relative_to: Path | None = None
) -> Plan:
    """Read a topology from the catalogue or from a file and build its plan.

    ``name_or_path`` is what the user wrote, ``parameters`` are those of the ``Topo`` subclass, and ``relative_to`` is
    the file that names the topology. The plan's ``file`` is the path as the user wrote it. A file that has not changed
    is not run again, and the plan for parameters that were asked before is not built again.

    Raises InputError where the file, its parameters or its addresses are wrong.
    """
    file, chosen = catalogue.find("topologies", name_or_path, relative_to), dict(parameters or {})
    with _loading, _foreign_code(file):
        loaded = _load(file)
        # True is equal to 1, and as a parameter it is another value.
        key = tuple((name, type(value), value) for name, value in sorted(chosen.items()))
        if key not in loaded.plans:
            with _registered(loaded.module):
                loaded.plans[key] = plan_of(_construct(loaded.topo_class, file, chosen), file, chosen)
    plan = loaded.plans[key]
    return plan if plan.file == file else plan.model_copy(update={"file": file})


def forget_plans() -> None:
    """Forget all plans, which are built again when they are asked for: for callers with parameters without end."""
    with _loading:
        for loaded in _loaded.values():
            loaded.plans.clear()


def describe(name: str) -> str:
    """The first line of the docstring of a topology's class."""
    return description(name).split("\n", 1)[0]


def description(name: str) -> str:
    """The docstring of a topology's class, or of its file."""
    file = catalogue.find("topologies", name, None)
    with _loading, _foreign_code(file):
        loaded = _load(file)
        return inspect.getdoc(loaded.topo_class) or inspect.getdoc(loaded.module) or ""


def _load(file: Path) -> _Loaded:
    """Run a topology file, unless it has run and neither it nor a module beside it has changed since."""
    absolute = file.absolute()
    known = _loaded.get(absolute)
    if known is not None:
        if all(_stamp(each) == stamp for each, stamp in known.stamps.items()):
            return known
        _forget_modules_beside(absolute.parent)
    stamp, before = _stamp(absolute), set(sys.modules)
    module = _module(file)
    topo_class = _topo_class(file, module)
    beside = modules_beside(absolute.parent)
    _imported.update({name: sys.modules[name] for name in beside.keys() - before})
    stamps = {absolute: stamp, **{path: _stamp(path) for path in beside.values()}}
    _loaded[absolute] = _Loaded(module, topo_class, stamps)
    return _loaded[absolute]


def _stamp(file: Path) -> Stamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def modules_beside(folder: Path) -> dict[str, Path]:
    """Names and files of the modules of this process that lie in a folder, given as an absolute path.

    Callers ask once for each job of a sweep, and a process has a thousand modules: only texts are compared.
    """
    beside = os.path.join(folder, "")
    files = ((name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items()))
    found = ((name, file) for name, file in files if isinstance(file, str) and file.startswith(beside))
    return {name: path for name, file in found if (path := Path(file)).parent == folder}


def _forget_modules_beside(folder: Path) -> None:
    """Let the next topology file import its modules anew. Modules that something else imported stay."""
    for name in modules_beside(folder).keys() & _imported:
        if sys.modules[name] is _imported.pop(name):
            del sys.modules[name]


@contextmanager
def _registered(module: ModuleType) -> Iterator[None]:
    """Have a module in ``sys.modules`` while its code runs: ``dataclasses`` looks for postponed annotations there."""
    earlier = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        if earlier is not None:
            sys.modules[module.__name__] = earlier
        else:
            sys.modules.pop(module.__name__, None)  # the file may have removed the entry itself


def plan_of(topo: Any, file: Path, parameters: dict[str, Any]) -> Plan:
    """Turn a Mininet ``Topo`` into a plan. Raises InputError where it has a switch or its data is wrong.

    ``file`` and ``parameters`` become part of the plan.
    """
    if topo.switches():
        raise InputError(
            f"switch {topo.switches()[0]!r} in the topology",
            allowed="nodes linked point to point, and `bridges` inside a node",
            file=file,
        )
    interfaces: dict[str, list[dict[str, Any]]] = {name: [] for name in topo.hosts()}
    links = []
    for first, second, info in topo.links(sort=False, withInfo=True):
        # Mininet sorts each pair of names; the link's info keeps the order in which the author named them.
        ends = []
        for side, node in ((1, info.get("node1", first)), (2, info.get("node2", second))):
            name = info.get(f"intfName{side}") or f"{node}-eth{info[f'port{side}']}"
            addresses = info.get(f"params{side}") or {}
            require_spelt(addresses, ("ip", "ip6"), f"link {node}/{name}", file)
            for family in ("ip", "ip6"):
                require_prefix(addresses.get(family), f"link {node}/{name}", file)
            interfaces[node].append({"name": name, "ip": addresses.get("ip"), "ip6": addresses.get("ip6")})
            ends.append((node, name))
        (node1, interface1), (node2, interface2) = ends
        conditions = of_mininet(info, f"link {node1} to {node2}", file)
        link = {"node1": node1, "interface1": interface1, "node2": node2, "interface2": interface2}
        links.append(link | {"conditions": conditions})
    nodes = {}
    for name in topo.hosts():
        parameters_of_node = {key: value for key, value in topo.nodeInfo(name).items() if key in _NODE_PARAMETERS}
        require_spelt(topo.nodeInfo(name), _NODE_PARAMETERS, f"node {name!r}", file)
        parameters_of_node["routes"] = [_route(file, name, to, via) for to, via in parameters_of_node.get("routes", ())]
        if isinstance(parameters_of_node.get("services"), list | tuple):
            parameters_of_node["services"] = with_own_files(parameters_of_node["services"], file)
        nodes[name] = {"name": name, "interfaces": interfaces[name], **parameters_of_node}
    try:
        plan = Plan.model_validate(
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
        # For a union, pydantic puts the name of each type that it tried in brackets.
        place = " ".join(str(part) for part in first_error["loc"] if "[" not in str(part))
        raise InputError(f"{place}: {first_error['msg']} (got {first_error['input']!r})", file=file) from None
    check_plan(plan)
    return plan


DIRECTLY = "dev "
"""In place of a gateway: ``dev eth0``."""

_NODE_PARAMETERS = set(NodePlan.model_fields) - {"name", "interfaces"}


def _route(file: Path, node: str, to: str, via: str) -> dict[str, Any]:
    try:
        if via.startswith(DIRECTLY):
            return {"to": ip_network(to), "via": None, "interface": via.removeprefix(DIRECTLY)}
        gateway = None if via == "blackhole" else ip_interface(via).ip
        if to == "default":
            return {"to": "::/0" if gateway is not None and gateway.version == 6 else "0.0.0.0/0", "via": gateway}
        return {"to": ip_network(to), "via": gateway}
    except ValueError as error:
        raise InputError(f"node {node!r}, route {to!r} via {via!r}: {error}", file=file) from None


@contextmanager
def _foreign_code(file: Path) -> Iterator[None]:
    """Run code of a topology file: an exception of any kind becomes an InputError with the line of the file.

    What the file prints goes to standard error: standard output is for results.
    """
    code = str(file.absolute())  # as tracebacks name the file; the file may change the current folder
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Port25labError, Interrupted):
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and _may_be_ctrl_c():
            raise
        raise _input_error(file, code, error) from error


def _may_be_ctrl_c() -> bool:
    """Whether a KeyboardInterrupt may come from the keyboard, as in pytest: then it must end the process.

    In the command it does not, since signals raise Interrupted there; nor does it in a thread other than the main one.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _input_error(file: Path, code: str, error: BaseException) -> InputError:
    """``FILE:LINE: KIND: text``, with the innermost line of the file that led to the error.

    ``code``: the name of the file in tracebacks.
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
        with _registered(module), warnings.catch_warnings():
            # Mininet imports it; the user can do nothing about that, also where warnings are errors.
            warnings.filterwarnings("ignore", "The distutils package is deprecated", DeprecationWarning)
            spec.loader.exec_module(module)
    finally:
        with suppress(ValueError):  # the file may have removed it itself
            sys.path.remove(folder)
    return module


def _topo_class(file: Path, module: ModuleType) -> type:
    topos = getattr(module, "topos", None)
    if not topos or not isinstance(topos, Mapping):
        raise InputError(
            "no `topos` in the file", allowed="topos = {'NAME': TopoSubclass}, as `mn --custom` wants", file=file
        )
    name = file.stem if topos.get(file.stem) else next(iter(topos))
    topo_class = topos[name]
    if not isinstance(topo_class, type) or "mininet.topo" not in {cls.__module__ for cls in topo_class.__mro__}:
        raise InputError(f"topos[{name!r}] is {topo_class!r}", allowed="a subclass of mininet.topo.Topo", file=file)
    return topo_class


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
        # A parameter is wrong, not the file: the error has no line of the file, and gets the place in the scenario.
        raise InputError(f"topology {file.stem}: {text}", file=file) from error


def _parameters(topo_class: type) -> set[str]:
    """Names of the parameters of ``__init__`` and of Mininet's ``build``, of the class and its base classes."""
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
