"""Text that is safe to print: control characters made visible, lengths bounded, glyphs for any terminal."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

LONGEST_REPLY = 300
"""Characters of a reply in a failure's text; RFC 5321 4.5.3.1.5 allows 512 octets for a line."""


@dataclass(frozen=True)
class Glyphs:
    """The signs that differ between a terminal and a pipe."""

    good: str
    bad: str
    neutral: str
    arrow: str
    between: str
    """Between the parts of a line."""
    through: str
    """Between the ends of a range."""


PLAIN = Glyphs(good="ok", bad="FAIL", neutral="-", arrow="->", between="|", through="-")
"""For pipes, logs and files: ASCII alone."""

PRETTY = Glyphs(good="✓", bad="✗", neutral="·", arrow="→", between="·", through="–")
"""For terminals with UTF-8."""


def visible(text: str) -> str:
    r"""One line without control characters: ``ESC`` becomes ``\x1b``, a line end becomes `` / ``.

    Escapes what Unicode does not call printable: control and direction characters, lone surrogates, unassigned ones.
    """
    line = " / ".join(re.split(r"\r\n|\n", text.strip("\r\n")))
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


def shortened(text: str, longest: int = LONGEST_REPLY) -> str:
    """The text, or its beginning and how long it is."""
    return text if len(text) <= longest else f"{text[:longest].rstrip()}... ({len(text)} characters)"


def duration(seconds: float) -> str:
    """``41 ms`` or ``2.1 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def quoted_text(text: str) -> str:
    """The text in quotes for a shell, also where it needs none, so that an id looks the same in every command."""
    quoted = shlex.quote(text)
    return quoted if quoted.startswith("'") else f"'{quoted}'"


def bracketed(text: str) -> str:
    """The text in brackets; nothing where there is none."""
    return f"({text})" if text else ""
