"""The doctor: what a finding says, which setting is to blame, and what an error leads to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from port25lab import doctor, trace
from port25lab.errors import MachineError
from port25lab.sandbox import ownpython

Row = doctor.Feature


def there() -> str:
    return "version 1"


def not_there() -> str:
    raise OSError("nothing here")


def setting_of(proc: Path, name: str, value: str) -> Path:
    file = proc / name.replace(".", "/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{value}\n")
    return proc


def program(folder: Path, name: str, says: str = "") -> None:
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def bin_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no programs but those put into this folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ownpython, "SYSTEM_FOLDERS", ())
    return tmp_path


def test_what_is_there_is_ok_and_needs_no_remedy() -> None:
    finding = Row("nft", "the trace", there, "sudo apt-get install nftables").examine()
    assert finding == doctor.Finding("nft", True, "the trace", "version 1")
    assert finding.ok


def test_what_is_missing_has_a_problem_and_a_remedy() -> None:
    finding = Row("nft", "the trace", not_there, "sudo apt-get install nftables", required=False).examine()
    assert (finding.ok, finding.required) == (False, False)
    assert (finding.text, finding.problem, finding.remedy) == (
        "nothing here",
        "nothing here",
        "sudo apt-get install nftables",
    )


def test_require_names_the_first_missing_thing_and_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (Row("a", "", there, "no"), Row("b", "", not_there, "sudo install b"), Row("c", "", not_there, "no"))
    monkeypatch.setattr(doctor, "MACHINE", rows)
    with pytest.raises(MachineError) as caught:
        doctor.require()
    assert str(caught.value) == "nothing here; sudo install b"
    assert caught.value.exit_code == 3


def test_a_missing_program_is_named_with_its_package(bin_only: Path) -> None:
    row = next(row for row in doctor.MACHINE if row.name == "ipset")
    with pytest.raises(MachineError) as caught:
        row.find()
    assert str(caught.value) == "ipset is not installed; sudo apt-get install --no-install-recommends ipset"


def test_legacy_iptables_is_refused_with_the_switch_to_nf_tables(bin_only: Path) -> None:
    program(bin_only, "ip6tables-restore", "ip6tables-restore v1.8.9 (legacy)")
    row = next(row for row in doctor.MACHINE if row.name == "ip6tables-restore")
    finding = row.examine()
    assert finding.problem is not None
    assert finding.problem.endswith("ip6tables-restore v1.8.9 (legacy)")
    assert finding.remedy == "sudo update-alternatives --set ip6tables /usr/sbin/ip6tables-nft"


def test_swaks_without_ipv6_is_no_swaks(bin_only: Path) -> None:
    program(bin_only, "swaks", "=== TLS supported\n*** IPv6 not available: requires IO::Socket::INET6")
    finding = next(row for row in doctor.EXTRAS if row.name == "swaks").examine()
    assert finding.problem == "swaks without IPv6"
    assert finding.remedy == "sudo apt-get install --no-install-recommends libio-socket-inet6-perl"


def test_postfix_cannot_become_its_own_user_in_an_ordinary_users_sandbox(
    bin_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(bin_only, "postfix")
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([self]))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(doctor, "user_namespaces_problem", lambda: None)
    with pytest.raises(MachineError) as caught:
        doctor.require_program("postfix", "client postfix")
    assert (
        caught.value.what
        == "Postfix runs as users of its own, and the sandbox of an ordinary user has no user but root"
    )
    monkeypatch.setattr(doctor, "user_namespaces_problem", lambda: "forbidden here")  # so sudo makes the sandbox
    doctor.require_program("postfix", "client postfix")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    doctor.require_program("postfix", "client postfix")


def test_postfix_without_sasl_cannot_log_in(bin_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bin_only, "postfix")
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))
    finding = next(row for row in doctor.EXTRAS if row.name == "postfix").examine()
    assert finding.problem == "Postfix cannot log in: there is no SASL PLAIN"
    assert finding.remedy == "sudo apt-get install --no-install-recommends libsasl2-modules"


def test_a_missing_program_is_named_with_whom_it_is_for(bin_only: Path) -> None:
    with pytest.raises(MachineError) as caught:
        doctor.require_program("msmtp", "client msmtp")
    assert str(caught.value) == (
        "client msmtp needs the program msmtp, which is not on this machine; "
        "sudo apt-get install --no-install-recommends msmtp"
    )


def test_what_installs_postfix_leaves_it_without_a_configuration_and_other_mail_servers_alone(bin_only: Path) -> None:
    remedy = next(row for row in doctor.EXTRAS if row.name == "postfix").examine().remedy
    assert remedy is not None
    assert "No configuration" in remedy
    assert "--no-remove" in remedy


def test_an_environment_that_hides_debians_mininet_is_told_from_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    row = next(row for row in doctor.MACHINE if row.name == "Mininet")
    monkeypatch.setattr(doctor, "DEBIANS_PYTHON", tmp_path)
    assert row.examine().problem == "Mininet is not installed"
    (tmp_path / "mininet").mkdir()
    finding = row.examine()
    assert finding.problem == f"{sys.executable} does not see Debian's Mininet in {tmp_path}"
    assert finding.remedy is not None
    assert "--system-site-packages" in finding.remedy


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
        ("kernel.unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("user.max_user_namespaces", "0", "user.max_user_namespaces=10000"),
    ],
)
def test_the_setting_that_forbids_namespaces_is_named(tmp_path: Path, setting: str, value: str, remedy: str) -> None:
    problem = doctor._sandbox_problem("unshare: Operation not permitted", 1000, setting_of(tmp_path, setting, value))
    assert problem.what == f"{setting}={value} forbids namespaces"
    assert problem.remedy == f"sudo sysctl -w {remedy}"


def test_settings_for_ordinary_users_are_not_blamed_by_root(tmp_path: Path) -> None:
    proc = setting_of(tmp_path, "kernel.apparmor_restrict_unprivileged_userns", "1")
    problem = doctor._sandbox_problem("unshare: Operation not permitted", 0, proc)
    assert problem.what == "unshare: Operation not permitted: forbidden, as in a container or by seccomp"


def test_a_failing_step_of_a_sandbox_is_told_with_the_kernels_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(user_namespace: bool) -> int:
        raise PermissionError(1, "Operation not permitted", "mount /proc")

    monkeypatch.setattr(doctor.entering, "enter", refuse)
    monkeypatch.setattr(doctor, "SETTINGS", ())
    problem = doctor.user_namespaces_problem()
    assert problem is not None
    assert problem.startswith("mount /proc: Operation not permitted: forbidden, as in a container")


def test_a_sandbox_that_dies_without_a_word_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.entering, "enter", lambda user_namespace: os._exit(1))
    monkeypatch.setattr(doctor, "SETTINGS", ())
    assert str(doctor.user_namespaces_problem()).startswith("the sandbox process died")


def test_without_user_namespaces_sudo_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = MachineError("x=1 forbids namespaces", "sudo sysctl -w x=0")
    monkeypatch.setattr(doctor, "_try_sandbox", lambda *, user_namespace: problem)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(doctor, "sudo_works", lambda: True)
    assert doctor.SANDBOX.examine().text == "by sudo; x=1 forbids namespaces"
    monkeypatch.setattr(doctor, "sudo_works", lambda: False)
    finding = doctor.SANDBOX.examine()
    assert (finding.problem, finding.remedy) == ("x=1 forbids namespaces", "sudo sysctl -w x=0")


def test_sudo_that_is_missing_or_asks_for_a_password_does_not_work(bin_only: Path) -> None:
    assert not doctor.sudo_works()
    (bin_only / "sudo").write_text("#!/bin/sh\nexit 1\n")
    (bin_only / "sudo").chmod(0o755)
    assert not doctor.sudo_works()
    (bin_only / "sudo").write_text("#!/bin/sh\nexit 0\n")
    assert doctor.sudo_works()


def test_a_program_that_fails_is_quoted() -> None:
    with pytest.raises(OSError, match=r"^sh: no such\s+qdisc$"):
        doctor._run("sh", "-c", "echo no such >&2; echo qdisc >&2; exit 2")


def test_a_program_that_hangs_is_a_finding_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang() -> str:
        raise subprocess.TimeoutExpired("nft", 10)

    assert "timed out" in str(Row("nft", "", hang, "").examine().problem)


def test_socket_buffers_are_as_large_as_the_trace_wants_them() -> None:
    assert doctor.TRACE_BUFFER == trace.RECEIVE_BUFFER
    finding = next(row for row in doctor.EXTRAS if row.name == "socket buffers").examine()
    assert finding.text == "212992 bytes granted, as many as labs want (net.core.rmem_max)"


def test_a_machine_that_grants_less_is_told_how_to_grant_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TRACE_BUFFER", 1 << 30)
    finding = next(row for row in doctor.EXTRAS if row.name == "socket buffers").examine()
    assert (finding.ok, finding.required) == (False, False)
    assert finding.text.startswith("net.core.rmem_max=")
    assert finding.text.endswith(", and labs want 1073741824: fewer attempts go on at once")
    assert finding.remedy == "sudo sysctl -w net.core.rmem_max=1073741824"


def test_every_remedy_is_a_command_or_says_what_to_do() -> None:
    rows = [*doctor.MACHINE, doctor.SANDBOX, *doctor.KERNEL, *doctor.EXTRAS]
    assert all(row.remedy and row.purpose for row in rows)
    assert len({row.name for row in rows}) == len(rows)
