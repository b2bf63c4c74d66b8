"""scripts/setup with stubs for apt, dpkg and sudo: what it installs, what it prints, and its exit codes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "scripts" / "setup"
TOOLS = ("bash", "dirname", "cat", "sha256sum", "readlink", "flock", "mktemp", "rm", "env")

pytestmark = pytest.mark.skipif(not SETUP.exists(), reason="not a checkout")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy in a folder with a space in its name, and a PATH with only the programs that the script needs."""
    checkout, tools = tmp_path / "my lab", tmp_path / "bin"
    (checkout / "scripts").mkdir(parents=True)
    tools.mkdir()
    shutil.copy(SETUP, checkout / "scripts")
    (checkout / "pyproject.toml").touch()
    for tool in TOOLS:
        (tools / tool).symlink_to(str(shutil.which(tool)))
    return checkout


def stub(checkout: Path, name: str, script: str) -> None:
    file = checkout.parent / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def setup(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(checkout / "scripts" / "setup"), *words]
    environment = {"PATH": str(checkout.parent / "bin"), "HOME": os.devnull, "TMPDIR": str(checkout.parent)}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, cwd="/", timeout=30)


def all_but(*missing: str) -> str:
    """A dpkg-query for which all packages except these are installed."""
    cases = "".join(f"{name}) ;; " for name in missing)
    return f'for name; do case "$name" in --*) ;; {cases}*) printf "installed=%s " "$name" ;; esac; done'


def test_a_machine_without_dpkg_is_refused(checkout: Path) -> None:
    done = setup(checkout)
    assert done.returncode == 3
    assert done.stderr == "setup: this is no Debian or Ubuntu; vagrant up makes one\n"


def test_only_what_is_missing_is_installed_without_recommended_packages(checkout: Path) -> None:
    stub(checkout, "dpkg-query", all_but("ipset", "swaks"))
    stub(checkout, "sudo", 'exec "$@"')
    stub(checkout, "apt-get", f'echo "$DEBIAN_FRONTEND $*" >>"{checkout}/apt"; case "$*" in *install*) exit 1;; esac')
    done = setup(checkout)
    updated, installed = (checkout / "apt").read_text().splitlines()
    assert updated.startswith("noninteractive --quiet") and updated.endswith("update")
    assert installed.startswith("noninteractive install --yes --no-install-recommends ipset swaks ")
    assert done.returncode == 3
    assert "run: sudo apt-get install --yes --no-install-recommends ipset swaks\n" in done.stderr


def test_real_installs_mail_programs_and_postfix_without_a_configuration(checkout: Path) -> None:
    stub(checkout, "dpkg-query", all_but("postfix", "msmtp"))
    stub(checkout, "sudo", 'exec "$@"')
    stub(checkout, "apt-get", f'echo "apt-get $*" >>"{checkout}/calls"; case "$*" in *install*) exit 1;; esac')
    stub(checkout, "debconf-set-selections", f'read -r line; echo "debconf $line" >>"{checkout}/calls"')
    assert setup(checkout, "dev", "real").returncode == 3
    _, debconf, install = (checkout / "calls").read_text().splitlines()
    assert debconf == "debconf postfix postfix/main_mailer_type select No configuration"
    assert install.startswith("apt-get install --yes --no-install-recommends msmtp postfix ")
    assert " --no-remove " in install


def test_no_mail_server_is_installed_without_real(checkout: Path) -> None:
    stub(checkout, "dpkg-query", all_but("postfix", "msmtp", "ipset"))
    stub(checkout, "sudo", 'exec "$@"')
    stub(checkout, "apt-get", f'echo "$*" >>"{checkout}/apt"; case "$*" in *install*) exit 1;; esac')
    setup(checkout, "dev")
    installed = (checkout / "apt").read_text()
    assert "ipset" in installed
    assert "postfix" not in installed


def test_packages_that_would_be_installed_are_printed_and_nothing_is_done(checkout: Path) -> None:
    stub(checkout, "apt-get", "exit 1")
    printed = {words: setup(checkout, "packages", *words).stdout.split() for words in [(), ("dev",), ("dev", "real")]}
    assert "make" in printed[()] and "mininet" not in printed[()]
    assert printed["dev",] == [*printed[()], "mininet"]
    assert {"mininet", "postfix"} < set(printed["dev", "real"])


def test_the_output_of_a_failing_apt_is_shown(checkout: Path) -> None:
    stub(checkout, "dpkg-query", all_but("ipset"))
    stub(checkout, "sudo", 'exec "$@"')
    stub(checkout, "apt-get", 'echo "E: broken"; exit 100')
    done = setup(checkout)
    assert done.stderr.splitlines()[:3] == [
        "setup: apt-get update",
        "E: broken",
        "setup: going on with the package lists that are here",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root needs no sudo")
def test_without_sudo_the_command_for_root_is_printed(checkout: Path) -> None:
    stub(checkout, "dpkg-query", all_but("ipset"))
    done = setup(checkout)
    assert done.returncode == 3
    command = "apt-get install --yes --no-install-recommends ipset"
    assert done.stderr == f"setup: not root, and no sudo; run this as root: {command}\n"


def test_nothing_is_printed_or_done_when_nothing_has_changed(checkout: Path) -> None:
    stub(checkout, "dpkg-query", all_but())
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to("/bin/true")
    parts = '"$PWD" "$(readlink -f /usr/bin/python3)"; cat pyproject.toml scripts/setup'
    key = subprocess.run(
        ["bash", "-c", f"{{ printf '%s\\n' {parts}; }} | sha256sum"], cwd=checkout, capture_output=True
    )
    (checkout / ".venv" / ".setup-dev").write_bytes(key.stdout)
    for extras in ((), ("dev",)):
        done = setup(checkout, *extras)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
