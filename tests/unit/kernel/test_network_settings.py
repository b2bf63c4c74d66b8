"""Settings of many namespaces: /proc is mounted anew, and where it cannot be, the one that is there is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.kernel import namespaces, network_settings
from port25lab.kernel.network_settings import MOST, NetworkSettings


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were mounted on, and with a minus before them those that were unmounted."""
    calls: list[str] = []
    monkeypatch.setattr(namespaces, "mount", lambda source, target, *_: calls.append(target))
    monkeypatch.setattr(namespaces, "unmount", lambda target: calls.append(f"-{target}"))
    return calls


def test_each_mount_serves_a_few_hundred_namespaces_and_none_is_left(mounted: list[str]) -> None:
    with NetworkSettings() as settings:
        for _ in range(2 * MOST + 1):
            settings.begin()
    first, gone, second, gone_too = mounted
    assert (gone, gone_too) == (f"-{first}", f"-{second}")
    assert not Path(first).exists()
    assert not Path(second).exists()


def test_a_small_lab_mounts_nothing(mounted: list[str]) -> None:
    with NetworkSettings() as settings:
        for _ in range(MOST - 1):
            settings.begin()
    assert mounted == []


def test_what_is_written_goes_through_the_mount(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mounted: list[str]
) -> None:
    monkeypatch.setattr(network_settings.tempfile, "mkdtemp", lambda: str(tmp_path))
    setting = tmp_path / "sys/net/ipv4/ip_forward"
    setting.parent.mkdir(parents=True)
    setting.write_text("0")
    with NetworkSettings() as settings:
        for _ in range(MOST):
            settings.begin()
        settings.write("net/ipv4/ip_forward", "1")
        settings.write("net/ipv4/no_such_setting", "1")
    assert setting.read_text() == "1"


def test_where_proc_cannot_be_mounted_the_one_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(namespaces, "mount", refuse)
    with NetworkSettings() as settings:
        for _ in range(MOST):
            settings.begin()
        settings.write("net/ipv4/no_such_setting", "1")
        with pytest.raises(FileNotFoundError):
            Path("/proc/sys/net/ipv4/no_such_setting").read_text()
