"""scripts/vm without a virtual machine: stubs stand for ssh and QEMU. docs/vm.md says what was run in real ones."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "vm"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not a checkout")


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    loader = importlib.machinery.SourceFileLoader("vm", str(SCRIPT))
    spec = importlib.util.spec_from_loader("vm", loader)
    assert spec is not None
    module = sys.modules["vm"] = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    yield module
    del sys.modules["vm"], sys.modules["vm_image"]


@pytest.fixture
def image(vm: ModuleType) -> ModuleType:
    return sys.modules["vm_image"]


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes first in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def stub(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def machine(vm: ModuleType, tmp_path: Path, *, qemu: int | None = None) -> object:
    """A machine whose QEMU has ended with this exit code; None: it runs."""
    process = Mock(returncode=qemu, poll=lambda: qemu)
    (tmp_path / "console").write_text("Kernel panic - not syncing\n")
    return vm.Machine(process, tmp_path, 2222, tmp_path / "console")


def test_missing_programs_are_named_with_the_command_that_installs_them(
    vm: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vm", "run"])
    monkeypatch.setattr(vm, "TOOLS", {"no-such-a": "package-z", "sh": "dash", "no-such-b": "package-a"})
    monkeypatch.setattr(vm, "USER_TOOLS", {})
    monkeypatch.setattr(vm, "KEYRING", Path(os.devnull, "none"))
    assert vm.main() == 3
    command = "sudo apt-get install debian-archive-keyring package-a package-z"
    assert capsys.readouterr().err == f"vm: no-such-a, no-such-b, Debian's keys missing; install: {command}\n"


@pytest.mark.parametrize(
    ("flags", "device", "accel"),
    [("fpu vmx ssse3", True, "kvm"), ("fpu hypervisor", True, "tcg"), ("svm", False, "tcg")],
)
def test_kvm_takes_a_processor_that_can_and_the_device(
    vm: ModuleType, tmp_path: Path, flags: str, device: bool, accel: str
) -> None:
    if device:
        (tmp_path / "kvm").touch()
    assert vm.acceleration(f"processor : 0\nflags : {flags}\n", tmp_path / "kvm") == accel


def test_the_machine_has_what_setup_would_install_and_the_vagrantfile_copies_the_same(
    vm: ModuleType, image: ModuleType
) -> None:
    packages = image.setup_packages()
    assert {"make", "nftables", "mininet", "postfix", "chromium"} < set(packages)
    vagrantfile = (ROOT / "Vagrantfile").read_text(encoding="utf-8")
    copied = f'synced_folder ".", "{vm.GUEST_FOLDER}", type: "rsync", rsync__exclude: {json.dumps(vm.EXCLUDED)}'
    assert copied in vagrantfile
    options = vm.parser().parse_args(["run"])
    assert f"machine.cpus = {options.cpus}\n" in vagrantfile
    assert f"machine.memory = {options.memory}\n" in vagrantfile
    assert f"config.vm.boot_timeout = {vm.BOOT_SECONDS['tcg']:.0f}\n" in vagrantfile


def test_the_box_is_named_to_the_vagrantfile_by_the_variable_that_it_reads(
    vm: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vm, "build", lambda release, fresh: tmp_path / "made")
    monkeypatch.setattr(vm, "pack", lambda folder, box, log: box.touch())
    (tmp_path / "made").mkdir()
    assert vm.box(vm.parser().parse_args(["box", "--debian", "13", str(tmp_path / "a box")])) == 0
    add, up = capsys.readouterr().out.splitlines()
    assert add == f"vagrant box add --force --name port25lab/debian13 '{tmp_path}/a box'"
    assert up == "PORT25LAB_BOX=port25lab/debian13 vagrant up --provider=libvirt"
    assert 'config.vm.box = ENV.fetch("PORT25LAB_BOX", ' in (ROOT / "Vagrantfile").read_text(encoding="utf-8")


def test_a_box_has_a_key_that_only_its_owner_can_read(image: ModuleType, stubs: Path, tmp_path: Path) -> None:
    stub(stubs, "qemu-img", 'for last; do :; done; echo disk >"$last"')
    (tmp_path / "made").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "made" / "key").write_text("secret")
    (tmp_path / "made" / "key").chmod(0o600)
    image.pack(tmp_path / "made", tmp_path / "my.box", tmp_path / "work" / "log")
    with tarfile.open(tmp_path / "my.box") as box:
        assert {member.name for member in box} == {"metadata.json", "Vagrantfile", "key", "box.img"}
        assert box.getmember("key").mode & 0o777 == 0o600
        metadata = box.extractfile("metadata.json")
        assert metadata is not None
        assert json.load(metadata) == {"provider": "libvirt", "format": "qcow2", "virtual_size": 12}
    assert (tmp_path / "my.box").stat().st_mode & 0o777 == 0o600


def test_another_machine_is_made_for_another_release_kernel_or_packages(vm: ModuleType, image: ModuleType) -> None:
    release = vm.RELEASES[12]
    backports = vm.chosen(vm.parser().parse_args(["run", "--backports"]))
    names = {
        image.recipe(release, ["make"]),
        image.recipe(vm.RELEASES[13], ["make"]),
        image.recipe(backports, ["make"]),
        image.recipe(release, ["make", "swaks"]),
    }
    assert len(names) == 4
    assert image.recipe(release, ["make"]) in names


def test_the_command_is_run_in_the_checkout_and_its_exit_code_returned(
    vm: ModuleType, stubs: Path, tmp_path: Path
) -> None:
    stub(stubs, "ssh", f'for last; do :; done; echo "$last" >{tmp_path}/line; exit 7')
    assert machine(vm, tmp_path).run(["sh", "-c", "make test"], None) == 7  # type: ignore[attr-defined]
    assert (tmp_path / "line").read_text() == "cd /vagrant && exec sh -c 'make test'\n"


@pytest.mark.parametrize(
    ("script", "code", "text"), [("exec sleep 60", 124, "did not end within 0[.]2 s"), ("exit 255", 4, "connection")]
)
def test_a_command_without_an_exit_code_of_its_own_is_told_apart(
    vm: ModuleType, stubs: Path, tmp_path: Path, script: str, code: int, text: str
) -> None:
    stub(stubs, "ssh", script)
    with pytest.raises(vm.VmError, match=text) as error:
        machine(vm, tmp_path).run(["make"], 0.2)  # type: ignore[attr-defined]
    assert error.value.code == code


@pytest.mark.parametrize(("qemu", "text"), [(1, "QEMU ended with exit code 1"), (None, "(?s)no answer.*Kernel panic")])
def test_a_machine_that_does_not_start_is_said_with_its_console(
    vm: ModuleType, stubs: Path, tmp_path: Path, qemu: int | None, text: str
) -> None:
    stub(stubs, "ssh", "exit 255")
    with pytest.raises(vm.VmError, match=text) as error:
        machine(vm, tmp_path, qemu=qemu).wait_until_ready(0.0)  # type: ignore[attr-defined]
    assert error.value.code == 4


def test_a_machine_ends_with_its_run(vm: ModuleType, stubs: Path, tmp_path: Path) -> None:
    stub(stubs, "qemu-system-x86_64", 'echo "$*" >"$TMPDIR/arguments"; exec sleep 60')
    with vm.running(tmp_path, "tcg", 1, 512) as started:
        assert started.process.poll() is None
        assert started.console.parent.is_dir()
    assert started.process.returncode == -9
    assert not started.console.parent.exists()


def test_a_program_that_fails_while_a_machine_is_made_shows_the_end_of_its_output(
    image: ModuleType, stubs: Path, tmp_path: Path
) -> None:
    stub(stubs, "mmdebstrap", "echo E: no such suite; exit 25")
    with pytest.raises(image.VmError, match=r"(?s)E: no such suite.*mmdebstrap failed, exit code 25"):
        image.checked(["mmdebstrap"], tmp_path / "log")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck")
@pytest.mark.parametrize("script", ["setup", "vm-guest"])
def test_shell_scripts_are_clean(script: str) -> None:
    done = subprocess.run(["shellcheck", ROOT / "scripts" / script], capture_output=True, text=True)
    assert done.stdout == ""
