"""Folders that are watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.kernel.inotify import Watch


def test_a_saved_file_names_its_folder_alone(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    with Watch() as watch:
        watch.add(one)
        watch.add(two)
        (one / "rules.v4").write_text("x")
        assert watch.wait(5) == {one}
        assert watch.wait(0) == set()


def test_an_editor_that_renames_counts(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new/file").write_text("x")
    (tmp_path / "rules").mkdir()
    with Watch() as watch:
        watch.add(tmp_path / "rules")
        (tmp_path / "new/file").rename(tmp_path / "rules/file")
        assert watch.wait(5) == {tmp_path / "rules"}


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with Watch() as watch, pytest.raises(FileNotFoundError, match="gone"):
        watch.add(tmp_path / "gone")
