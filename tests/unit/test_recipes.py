"""What others put into their CI: the action for GitHub, the templates, the scripts. Checked without those services."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from port25lab.scenario.document import read_yaml

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "recipes" / "github-action"
PLANTED = 'run "my mail.yaml" $(touch planted) `touch planted` ; touch planted * --junit "a b.xml"'

pytestmark = pytest.mark.skipif(not ACTION.exists(), reason="not a checkout")


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("action.yml", ("vendor.github-actions",)),
        ("recipes/gitlab.yml", ("vendor.gitlab-ci", "--data-transform", "gitlab-ci")),
        ("examples/mail-policy/.github/workflows/mail.yml", ("vendor.github-workflows",)),
        ("examples/mail-policy/.gitlab-ci.yml", ("vendor.gitlab-ci", "--data-transform", "gitlab-ci")),
    ],
)
def test_a_service_would_accept_the_file(file: str, options: tuple[str, ...]) -> None:
    """The schemas are those that come with check-jsonschema: nothing is fetched."""
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", *options, str(ROOT / file)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck on this machine")
def test_shellcheck_has_nothing_to_say() -> None:
    scripts = [
        file
        for folder in ("scripts", "recipes", ".ci")
        for file in sorted((ROOT / folder).iterdir())
        if file.is_file() and file.read_bytes().startswith((b"#!/usr/bin/env bash", b"#!/bin/sh", b"#!/bin/bash"))
    ]
    assert ACTION in scripts
    done = subprocess.run(["shellcheck", *map(str, scripts)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


# -- the action --------------------------------------------------------------------------------------------------------


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    """A machine whose programs write down how they are called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("port25lab", "pipx", "apt-get", "sysctl"):
        (programs / name).write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" >>"{tmp_path}/calls"\n')
    (programs / "sudo").write_text('#!/bin/sh\nexec env "$@"\n')
    for file in programs.iterdir():
        file.chmod(0o755)
    (programs / "python3").symlink_to(sys.executable)
    return tmp_path


def act(runner: Path, step: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{runner}/bin:/usr/bin:/bin", "HOME": str(runner)} | variables
    return subprocess.run([str(ACTION), step], env=environment, cwd=runner, capture_output=True, text=True, timeout=60)


def calls(runner: Path) -> list[str]:
    return (runner / "calls").read_text().splitlines()


def test_arguments_are_words_and_nothing_of_them_is_executed(runner: Path) -> None:
    assert act(runner, "run", PORT25LAB_ARGUMENTS=PLANTED, PORT25LAB_ANNOTATE="false").returncode == 0
    assert not (runner / "planted").exists()
    assert calls(runner)[:4] == ["port25lab", "run", "my mail.yaml", "$(touch"]
    assert calls(runner)[-3:] == ["*", "--junit", "a b.xml"]


@pytest.mark.parametrize(
    ("arguments", "annotate", "last"),
    [
        ("run a.yaml", "true", "github"),
        ("check r.v4", "true", "github"),
        ("run a.yaml", "false", "a.yaml"),
        ("doctor", "true", "doctor"),
    ],
)
def test_run_and_check_annotate_unless_told_not_to(runner: Path, arguments: str, annotate: str, last: str) -> None:
    act(runner, "run", PORT25LAB_ARGUMENTS=arguments, PORT25LAB_ANNOTATE=annotate)
    assert calls(runner)[-1] == last


def test_the_exit_code_is_that_of_port25lab(runner: Path) -> None:
    (runner / "bin/port25lab").write_text("#!/bin/sh\nexit 4\n")
    assert act(runner, "run", PORT25LAB_ARGUMENTS="run a.yaml").returncode == 4


def test_the_action_installs_its_own_version_and_the_packages(runner: Path) -> None:
    done = act(runner, "install", PORT25LAB_PACKAGES="swaks curl")
    assert done.returncode == 0, done.stderr
    called = calls(runner)
    assert called[called.index("iptables") : called.index("curl") + 1] == [
        "iptables",
        "ipset",
        "nftables",
        "swaks",
        "curl",
    ]
    assert called[called.index("pipx") + 1] == "install"
    assert str(ROOT) in called
    assert called[-2:] == ["port25lab", "doctor"]


def test_a_python_that_is_too_old_is_said(runner: Path) -> None:
    (runner / "bin/python3").unlink()
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        (runner / "bin" / name).write_text("#!/bin/sh\nexit 1\n")
        (runner / "bin" / name).chmod(0o755)
    done = act(runner, "install")
    assert done.returncode == 3
    assert done.stderr == "::error::port25lab takes Python 3.11 or newer; use actions/setup-python before it\n"


def test_what_init_writes_is_a_workflow_that_github_accepts(tmp_path: Path) -> None:
    from port25lab.scenario.project import _CI

    (tmp_path / "mail.yml").write_text(_CI)
    read_yaml(tmp_path / "mail.yml")
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*argv, str(tmp_path / "mail.yml")], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--annotate github" in _CI


def test_the_profile_in_the_manual_is_that_of_the_recipe() -> None:
    lines = (ROOT / "recipes/port25lab.apparmor").read_text().splitlines()
    profile = "\n".join(line for line in lines if not line.startswith("#"))
    assert f"```\n{profile}\n```" in (ROOT / "docs/troubleshooting.md").read_text()


def test_recipes_name_the_version_of_this_tree() -> None:
    from port25lab.machine.versions import own_version

    for file in ("recipes/gitlab.yml", "recipes/Jenkinsfile", "recipes/Dockerfile"):
        assert own_version() in (ROOT / file).read_text(), file
    assert os.access(ACTION, os.X_OK)
