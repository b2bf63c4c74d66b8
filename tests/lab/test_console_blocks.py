"""Every console block of the README and the manual shows what its commands print.

``PORT25LAB_UPDATE_DOCS=1`` writes what they print into the pages instead.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from console_blocks import agree, blocks, run

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _runs(page: Path) -> bool:
    return any(block.title is None and block.mark != "not run" for block in blocks(page.read_text("utf-8")))


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if _runs(page)])
def test_the_page_shows_what_its_commands_print(page: Path, tmp_path: Path) -> None:
    update = bool(os.environ.get("PORT25LAB_UPDATE_DOCS"))
    (tmp_path / ".runtime").mkdir(mode=0o700)
    text = page.read_text("utf-8")
    wrong, changed = [], text
    for block in blocks(text):
        if block.title is not None:
            file = tmp_path / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.body)
        elif block.mark != "not run":
            new = []
            for command in block.commands:
                printed = run(command.typed, tmp_path)
                same = block.mark == "any output" or agree(command.shown, printed)
                if not same:
                    wrong.append(f"$ {command.typed}\n{printed}")
                shown = "\n".join(command.shown) if same else printed.strip("\n")
                new.append(f"$ {command.typed}\n" + (f"{shown}\n" if shown else ""))
            changed = changed.replace(block.body, "".join(new), 1)
    if update:
        page.write_text(changed, "utf-8")
    else:
        assert not wrong, f"{page.relative_to(ROOT)} shows something else than\n" + "\n".join(wrong)
