"""How help and usage errors look: boxes and colours on a terminal, plain lines in a pipe, no type of flags."""

from __future__ import annotations

import os
import sys
from typing import Any, Literal

from typer.core import TyperArgument, TyperOption

ON_TERMINAL = (
    bool(sys.stdout and sys.stdout.isatty() and sys.stderr and sys.stderr.isatty()) and "NO_COLOR" not in os.environ
)

MARKUP: Literal["rich"] | None = "rich" if ON_TERMINAL else None


def bold(text: str) -> str:
    """Text that stands out, where help has markup."""
    return f"[bold]{text}[/bold]" if MARKUP else text


def with_examples(*examples: tuple[str, str]) -> str:
    """The examples of a command's help, each as COMMAND and what it is for: one paragraph each, or typer joins them."""
    shown = (f"{bold(command)}  {f'[dim]{what}[/dim]' if MARKUP else f'# {what}'}" for command, what in examples)
    return "\n\n".join(["Examples:", *shown])


def name_no_types() -> None:
    """Let help say ``--host`` and ``FILE`` where typer would say ``--host <bool>`` and ``FILE <list[str]>``."""
    display = TyperOption.display_type_rich

    def display_option(option: TyperOption, ctx: Any) -> str | None:
        return None if option.is_flag else display(option, ctx)

    def display_argument(argument: TyperArgument, ctx: Any) -> str | None:
        return None if argument.metavar else display_other(argument, ctx)

    display_other = TyperArgument.display_type_rich
    setattr(TyperOption, "display_type_rich", display_option)  # noqa: B010  # mypy refuses to replace a method
    setattr(TyperArgument, "display_type_rich", display_argument)  # noqa: B010
