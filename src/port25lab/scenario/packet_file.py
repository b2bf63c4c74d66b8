"""A Python file of the user's that makes packets: ``packet: ./odd.py:tiny_fragments``.

The file is read and parsed here, and its code is not run: that happens in the lab, in a program of the sending node.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from port25lab.errors import InputError, nearest
from port25lab.model.path import PacketFunction
from port25lab.scenario.document import read_text

FORM = "FILE.py:FUNCTION"

DEFAULT_FUNCTION = "packets"


def is_packet_file(packet: str) -> bool:
    """Whether what stands at ``packet`` is a file of the user's, and no kind of port25lab's."""
    return re.search(r"\.py(:|$)", packet) is not None


def load_packet(written: str, relative_to: Path | None = None) -> PacketFunction:
    """Read the file, and find the function in it.

    ``written``: what stands in the scenario; without a function's name, ``packets`` is meant. ``relative_to``: the
    scenario's file. Raises InputError, with the Python file and its line where that is what is wrong.
    """
    file, name, text, tree = parsed_file(written, relative_to, DEFAULT_FUNCTION)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    if name not in functions:
        raise InputError(f"no function {name!r}", allowed=nearest(name, functions), file=file)
    found = functions[name]
    if isinstance(found, ast.AsyncFunctionDef) or not _takes_one(found.args):
        raise InputError(
            f"the function {name!r} cannot be called with one argument",
            allowed=f"def {name}(p):",
            file=file,
            line=found.lineno,
        )
    return PacketFunction(file=str(file), name=name, text=text, folders=(str(file.absolute().parent),))


def parsed_file(written: str, relative_to: Path | None, default: str) -> tuple[Path, str, str, ast.Module]:
    """The file of ``FILE.py:NAME``, the name, its text, and its syntax. ``default``: the name, where there is none.

    Raises InputError where there is no such file, or it is not Python.
    """
    path, _, name = written.partition(".py:") if ".py:" in written else (written.removesuffix(".py"), "", "")
    name = name or default
    place = Path(f"{path}.py")
    beside = place if relative_to is None else relative_to.parent / place
    file = beside if beside.exists() else place
    if not file.is_file():
        raise InputError(f"no file {str(place)!r}", allowed=f"{FORM}, looked for beside the scenario: {beside}")
    text = read_text(file)
    try:
        tree = ast.parse(text, str(file))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # ValueError: a NUL in it
        line, column = getattr(error, "lineno", None), getattr(error, "offset", None)
        what = getattr(error, "msg", None) or str(error) or type(error).__name__
        raise InputError(f"not Python: {what}", file=file, line=line, column=column) from None
    return file, name, text, tree


def _takes_one(arguments: ast.arguments) -> bool:
    positional = len(arguments.posonlyargs) + len(arguments.args)
    needed = positional - len(arguments.defaults)
    named = [default for default in arguments.kw_defaults if default is None]
    return not named and needed <= 1 and (positional >= 1 or arguments.vararg is not None)
