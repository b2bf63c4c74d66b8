"""The site of the manual: what its builder calls a broken link, and that every console block says how it is tried."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from console_blocks import agree, blocks, unmarked

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def site() -> ModuleType:
    loader = SourceFileLoader("site_builder", str(ROOT / "scripts/site"))
    spec = spec_from_loader("site_builder", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


def test_what_leads_nowhere_and_what_is_loaded_from_elsewhere_is_found(site: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/index.html").write_text('<h2 id="there">x</h2>')
    links = ("a/", "a/#there", "a/#not-there", "gone/", "https://example.com/")
    text = "".join(f'<a href="{link}">x</a>' for link in links)
    (tmp_path / "index.html").write_text(f'{text}<script src="https://cdn.example/x.js"></script><img src="no.png">')
    assert site.check(tmp_path) == {
        "index.html links to a/#not-there: there is no such heading",
        "index.html links to gone/, which is not there",
        "index.html loads https://cdn.example/x.js",
        "index.html lacks no.png",
    }


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_commands_stand_in_console_blocks(page: Path) -> None:
    assert unmarked(page.read_text("utf-8")) == []


def test_a_block_has_its_file_its_commands_and_its_mark() -> None:
    text = '```text title="a"\nx\n```\n\n<!-- not run: why -->\n```console\n$ one\n1\n$ two\n```\n'
    file, console = blocks(text)
    assert (file.title, file.body) == ("a", "x\n")
    assert console.mark == "not run"
    assert [(one.typed, one.shown) for one in console.commands] == [("one", ("1",)), ("two", ())]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (("a  1.5 s",), "a 20 s\n", True),
        (("a", "…", "z"), "a\nb\nc\nz\n", True),
        (("a", "…", "z"), "a\nz\n", True),
        (("a", "…"), "b\n", False),
        (("192.0.2.1:20001 >",), "192.0.2.1:20044 >", True),
        (("192.0.2.1:25 >",), "192.0.2.1:26 >", False),
        (("two",), "one\n", False),
    ],
)
def test_times_and_source_ports_may_differ_and_nothing_else(shown: tuple[str, ...], printed: str, same: bool) -> None:
    assert agree(shown, printed) is same
