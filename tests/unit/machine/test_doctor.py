"""The doctor: what a check says, which setting is to blame, and what an error leads to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from port25lab.errors import MachineError
from port25lab.kernel import ipv6, nftrace, own_python
from port25lab.machine import capacity, doctor, features, kernel_features, sandbox_trial
from port25lab.machine import feature as feature_module

Row = feature_module.Feature


def there() -> str:
    return "version 1"


def not_there() -> str:
    raise OSError("nothing here")


def program(folder: Path, name: str, says: str = "") -> None:
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def bin_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no programs but those put into this folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(own_python, "SYSTEM_FOLDERS", ())
    return tmp_path


def test_what_is_there_is_ok_and_needs_no_remedy() -> None:
    check = Row("nft", "the trace", there, "sudo apt-get install nftables").examine()
    assert check == feature_module.Check("nft", True, "the trace", "version 1")
    assert check.ok


def test_what_is_missing_has_a_problem_and_a_remedy() -> None:
    check = Row("nft", "the trace", not_there, "sudo apt-get install nftables", required=False).examine()
    assert (check.ok, check.required) == (False, False)
    assert (check.text, check.problem, check.remedy) == (
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


def test_require_names_all_missing_packages_in_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        Row("a", "", not_there, packages=("iptables",)),
        Row("b", "", there, packages=("nftables",)),
        Row("c", "", not_there, packages=("iptables", "ipset")),
    )
    monkeypatch.setattr(doctor, "MACHINE", rows)
    with pytest.raises(MachineError) as caught:
        doctor.require()
    assert str(caught.value) == (
        "nothing here, nothing here; sudo apt-get install --no-install-recommends iptables ipset"
    )


def test_a_feature_of_the_kernel_is_not_tried_without_the_programs_that_try_it(
    bin_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_features, "KERNEL", (Row("sets", "", there, programs=("ipset", "nft")),))
    monkeypatch.setattr(kernel_features.namespaces_module, "unshare", lambda kind: None)
    program(bin_only, "nft")
    (found,) = kernel_features._kernel_checks(())
    assert (found["problem"], found["remedy"]) == ("not tried: there is no ipset", None)
    program(bin_only, "ipset")
    (found,) = kernel_features._kernel_checks(())
    assert found["problem"] is None


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("nftables v0.9.8 (E.D.S.)", "nftables v0.9.8 (E.D.S.) is too old, 1.0 is needed"),
        ("nftables v1.0.2 (Lester Gooch)", None),
        ("nftables v1.1.3 (Commodore Bullmoose #4)", None),
    ],
)
def test_an_nft_that_is_too_old_is_refused(bin_only: Path, version: str, problem: str | None) -> None:
    program(bin_only, "nft", version)
    assert next(row for row in features.MACHINE if row.name == "nft").examine().problem == problem


def test_another_c_library_than_glibc_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = next(row for row in features.MACHINE if row.name == "C library")
    assert row.examine().ok

    def unknown(name: str) -> str:
        raise ValueError("unrecognized configuration name")  # what Python says on Alpine

    monkeypatch.setattr("os.confstr", unknown)
    check = row.examine()
    assert check.problem == "this Python's C library is not glibc (musl, as on Alpine?)"
    assert check.remedy == "use Debian or Ubuntu, or the container of recipes/Dockerfile"


def test_a_missing_program_is_named_with_its_package(bin_only: Path) -> None:
    row = next(row for row in features.MACHINE if row.name == "ipset")
    with pytest.raises(MachineError) as caught:
        row.find()
    assert str(caught.value) == "ipset is not installed; sudo apt-get install --no-install-recommends ipset"


def test_legacy_iptables_is_refused_with_the_switch_to_nf_tables(bin_only: Path) -> None:
    program(bin_only, "ip6tables-restore", "ip6tables-restore v1.8.9 (legacy)")
    row = next(row for row in features.MACHINE if row.name == "ip6tables-restore")
    check = row.examine()
    assert check.problem is not None
    assert check.problem.endswith("ip6tables-restore v1.8.9 (legacy)")
    assert check.remedy == "sudo update-alternatives --set ip6tables /usr/sbin/ip6tables-nft"


def test_swaks_without_ipv6_is_no_swaks(bin_only: Path) -> None:
    program(bin_only, "swaks", "=== TLS supported\n*** IPv6 not available: requires IO::Socket::INET6")
    check = next(row for row in features.EXTRAS if row.name == "swaks").examine()
    assert check.problem == "swaks without IPv6"
    assert check.remedy == "sudo apt-get install --no-install-recommends libio-socket-inet6-perl"


@pytest.mark.parametrize("name", ["IPv6", "IPv4/v6 Socket Transport", "Legacy IPv4/v6 Socket Transport"])
def test_swaks_of_each_debian_is_known_to_have_ipv6(bin_only: Path, name: str) -> None:
    program(bin_only, "swaks", f"=== TLS supported\n=== {name} supported")
    assert next(row for row in features.EXTRAS if row.name == "swaks").examine().ok


def test_postfix_cannot_become_its_own_user_in_an_ordinary_users_sandbox(
    bin_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(bin_only, "postfix")
    monkeypatch.setattr(own_python, "others_can_write", lambda folder: False)  # the user is another one each time
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([self]))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(sandbox_trial, "problem", lambda *, user_namespace: None)
    with pytest.raises(MachineError) as caught:
        doctor.require_program("postfix", "client postfix")
    assert (
        caught.value.what
        == "Postfix runs as users of its own, and the sandbox of an ordinary user has no user but root"
    )
    forbidden = MachineError("forbidden here", "")
    monkeypatch.setattr(sandbox_trial, "problem", lambda *, user_namespace: forbidden)  # so sudo makes the sandbox
    doctor.require_program("postfix", "client postfix")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    doctor.require_program("postfix", "client postfix")


def test_postfix_without_sasl_cannot_log_in(bin_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bin_only, "postfix")
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))
    check = next(row for row in features.EXTRAS if row.name == "postfix").examine()
    assert check.problem == "Postfix cannot log in: there is no SASL PLAIN"
    assert check.remedy == "sudo apt-get install --no-install-recommends libsasl2-modules"


def test_a_missing_program_is_named_with_whom_it_is_for(bin_only: Path) -> None:
    with pytest.raises(MachineError) as caught:
        doctor.require_program("msmtp", "client msmtp")
    assert str(caught.value) == (
        "client msmtp needs the program msmtp, which is not on this machine; "
        "sudo apt-get install --no-install-recommends msmtp"
    )


def test_what_installs_postfix_leaves_it_without_a_configuration_and_other_mail_servers_alone(bin_only: Path) -> None:
    remedy = next(row for row in features.EXTRAS if row.name == "postfix").examine().remedy
    assert remedy is not None
    assert "No configuration" in remedy
    assert "--no-remove" in remedy


def test_without_mininet_pip_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check = next(row for row in features.MACHINE if row.name == "Mininet").examine()
    assert check.problem == "Mininet is not installed for this Python"
    assert check.remedy == f"{sys.executable} -m pip install 'mininet>=2.3.0.dev6'"


def test_a_program_that_hangs_is_a_check_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang() -> str:
        raise subprocess.TimeoutExpired("nft", 10)

    assert "timed out" in str(Row("nft", "", hang, "").examine().problem)


def test_socket_buffers_are_as_large_as_the_trace_wants_them() -> None:
    check = next(row for row in features.EXTRAS if row.name == "socket buffers").examine()
    assert check.text == "212992 bytes granted, as many as labs want (net.core.rmem_max)"


def test_a_machine_that_grants_less_is_told_how_to_grant_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nftrace, "RECEIVE_BUFFER", 1 << 30)
    check = next(row for row in features.EXTRAS if row.name == "socket buffers").examine()
    assert (check.ok, check.required) == (False, False)
    assert check.text.startswith("net.core.rmem_max=")
    assert check.text.endswith(", and labs want 1073741824: fewer attempts go on at once")
    assert check.remedy == "sudo sysctl -w net.core.rmem_max=1073741824"


# -- modules of the kernel ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("0", "sudo modprobe --all veth bridge"),
        (
            "1",
            "kernel.modules_disabled=1 lasts until the next boot: "
            "printf '%s\\n' veth bridge | sudo tee /etc/modules-load.d/port25lab.conf && sudo reboot",
        ),
        (None, "boot a kernel with veth bridge: this one has no loadable modules"),
    ],
)
def test_the_remedy_for_a_missing_module_is_one_that_this_kernel_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, remedy: str
) -> None:
    monkeypatch.setattr(feature_module, "MODULES_DISABLED", tmp_path / "modules_disabled")
    if value is not None:
        (tmp_path / "modules_disabled").write_text(f"{value}\n")
    assert Row("links", "", not_there, modules=("veth", "bridge")).examine().remedy == remedy


# -- what is not tried -------------------------------------------------------------------------------------------------


def test_without_a_sandbox_nothing_that_takes_one_is_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> sandbox_trial.Way:
        raise MachineError("x=1 forbids namespaces", "sudo sysctl -w x=0")

    monkeypatch.setattr(sandbox_trial, "find", none)
    found = {check.name: check for check in doctor.examine()}
    assert (found["sandbox"].problem, found["sandbox"].remedy) == ("x=1 forbids namespaces", "sudo sysctl -w x=0")
    for name in ("namespaces", "open files", *(feature.name for feature in kernel_features.KERNEL)):
        assert found[name].problem == "not tried: there is no sandbox to try it in"
        assert not found[name].ok


def test_the_doctor_says_in_which_way_it_made_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    way = sandbox_trial.Way(False, ("sudo", "--non-interactive"), MachineError("x=1 forbids namespaces", ""))
    asked: list[tuple[object, ...]] = []

    def by(way: sandbox_trial.Way, function: Callable[..., object], *arguments: object) -> object:
        asked.append((way.sudo, function.__name__))
        answers = {"try_kernel": [], "make": {"labs": 1, "short": None}, "raise_descriptors": 4096}
        return answers[function.__name__]

    monkeypatch.setattr(sandbox_trial, "find", lambda: way)
    monkeypatch.setattr(sandbox_trial, "by", by)
    texts = {check.name: check.text for check in doctor.examine()}
    assert texts["sandbox"] == "made by sudo, since x=1 forbids namespaces"
    assert texts["open files"] == "4096 for each lab"
    assert {sudo for sudo, _ in asked} == {("sudo", "--non-interactive")}, "all of it is tried by sudo"


def test_a_lab_that_could_not_be_built_leads_to_what_the_kernel_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        feature_module.Check("IPv6", False, "", "none", "none", "reboot"),
        feature_module.Check("sets", True, "", "no ip_set", "no ip_set", "sudo modprobe ip_set"),
    ]
    monkeypatch.setattr(doctor, "examine_kernel", lambda way, *names: rows)
    with pytest.raises(MachineError, match=r"^labs need sets of the kernel: no ip_set; sudo modprobe ip_set$"):
        doctor.require_lab(sandbox_trial.Way(user_namespace=True, problem=MachineError("for this test", "")))


def test_without_ipv6_a_path_over_it_is_refused_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipv6, "works", lambda: False)
    doctor.require_ip(4, "a path is asked")
    doctor.require_ip(None, "a path is asked")
    with pytest.raises(MachineError) as caught:
        doctor.require_ip(6, "2 of 4 paths are asked")
    assert caught.value.what == "this kernel has no IPv6, and 2 of 4 paths are asked over it"
    assert "-k 'not ipv6'" in caught.value.remedy


def test_too_few_open_files_for_the_engine_itself_are_said_before_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "raise_descriptors", lambda: 32)
    with pytest.raises(MachineError, match=r"^port25lab takes 64 open files, and the limit \(ulimit -n\) is 32; sudo"):
        doctor.require()


def test_a_program_that_fails_is_quoted() -> None:
    with pytest.raises(OSError, match=r"^sh: no such\s+qdisc$"):
        feature_module.run("sh", "-c", "echo no such >&2; echo qdisc >&2; exit 2")


def test_every_remedy_is_a_command_or_says_what_to_do() -> None:
    rows = [*features.MACHINE, features.SANDBOX, *features.ROOM, *kernel_features.KERNEL, *features.EXTRAS]
    assert all((row.remedy or row.modules or row.packages) and row.purpose for row in rows)
    assert len({row.name for row in rows}) == len(rows)
