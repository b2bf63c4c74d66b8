"""scripts/mutants: its table fits the files as they are, and a mutant that survives is told from one that is killed."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "mutants"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not a checkout")


@pytest.fixture
def mutants() -> Iterator[ModuleType]:
    loader = importlib.machinery.SourceFileLoader("mutants", str(SCRIPT))
    spec = importlib.util.spec_from_loader("mutants", loader)
    assert spec is not None
    module = sys.modules["mutants"] = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    yield module
    del sys.modules["mutants"]


def test_each_mutant_changes_a_file_and_names_a_check_that_exists(mutants: ModuleType) -> None:
    rows = mutants.mutants()
    assert len({row.name for row in rows}) == len(rows) > 0
    for row in rows:
        assert mutants.mutated(row) != (mutants.ROOT / row.file).read_text(encoding="utf-8")
        if "pytest" in row.check:
            file, _, test = row.check[-1].partition("::")
            assert f"def {test}" in (mutants.ROOT / file).read_text(encoding="utf-8"), row.check[-1]


def test_a_row_that_no_longer_fits_its_file_is_an_error(
    mutants: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = mutants.Mutant("gone", "src/port25lab/errors.py", "no such text", "", ("-c", ""))
    assert mutants.planted(row, tmp_path) == "error"
    assert "occurs 0 times in src/port25lab/errors.py" in capsys.readouterr().out


@pytest.mark.parametrize(("code", "end"), [(0, "survived"), (1, "killed"), (2, "error"), (4, "error")])
def test_the_exit_code_of_the_check_says_whether_it_noticed(
    mutants: ModuleType, tmp_path: Path, code: int, end: str
) -> None:
    (tmp_path / "conftest.py").touch()
    text = (mutants.ROOT / "conftest.py").read_text(encoding="utf-8")
    check = ("-c", f"import sys; sys.exit({code} if open('conftest.py').read() == 'planted' else 9)")
    assert mutants.planted(mutants.Mutant("any", "conftest.py", text, "planted", check), tmp_path) == end
    assert (tmp_path / "conftest.py").read_text(encoding="utf-8") == text
