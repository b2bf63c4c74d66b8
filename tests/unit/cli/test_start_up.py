"""What is imported before a command does anything: what `--help`, `list` and a scenario need, and no more."""

from __future__ import annotations

import subprocess
import sys

import pytest

MAIL_AND_DNS = {"aiosmtplib", "aiosmtpd", "dns", "trustme", "cryptography", "scapy"}

COMMAND = """
from port25lab.cli import main
try:
    main.main()
except SystemExit as end:
    assert end.code == 0
"""


def imported(code: str, *arguments: str) -> set[str]:
    """The modules that a new Python process has imported at the end of this code, and the packages that they are in."""
    code = f"import sys\n{code}\nprint('\\nimported', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules = done.stdout.rpartition("imported")[2].split()
    return {*modules, *(name.partition(".")[0] for name in modules)}


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("probe", "--help"), ("list",), ("schema",)])
def test_these_commands_do_without_smtp_and_dns_libraries_and_mininet(arguments: tuple[str, ...]) -> None:
    found = imported(COMMAND, *arguments)
    assert "typer" in found
    assert not found & (MAIL_AND_DNS | {"mininet", "port25lab.engine.engine"})


def test_help_does_without_pydantic_and_yaml() -> None:
    assert not imported(COMMAND, "--help") & {"pydantic", "ruamel", "asyncio"}


def test_a_scenario_is_read_without_smtp_and_dns_libraries() -> None:
    """Its topology file imports Mininet."""
    found = imported("from port25lab.scenario.questions import load_questions\nassert load_questions('clients')")
    assert "mininet.topo" in found
    assert not found & (MAIL_AND_DNS | {"mininet.net"})


def test_a_run_and_a_check_do_without_the_templates_of_the_page() -> None:
    found = imported("import port25lab.cli.run, port25lab.cli.check")
    assert "rich" in found
    assert "jinja2" not in found


def test_this_test_sees_what_is_imported() -> None:
    assert {"aiosmtplib", "dns"} <= imported("import port25lab.probe.measure, port25lab.mail.clients.in_process")
