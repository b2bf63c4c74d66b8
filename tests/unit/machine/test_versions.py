"""The versions that results record, so that a run can be repeated elsewhere."""

from __future__ import annotations

import platform
import ssl
from pathlib import Path

import pytest

from port25lab.kernel import own_python
from port25lab.machine import versions
from port25lab.model.client_kinds import CLIENT_KINDS


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(own_python, "SYSTEM_FOLDERS", ())
    for name in ("swaks", "perl", "curl", "msmtp", "postconf"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{name} 1'; echo 2\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def test_the_tls_library_and_the_clients_that_were_used_are_recorded(programs: Path) -> None:
    environment = versions.describe_environment(["swaks", "curl", "swaks", "smtplib"])
    assert environment["openssl"] == ssl.OPENSSL_VERSION
    assert environment["clients"] == {
        "swaks": "swaks 1, perl 1",
        "curl": "curl 1",
        "smtplib": f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}",
    }


def test_every_client_has_a_version(programs: Path) -> None:
    for name in CLIENT_KINDS:
        assert "1" in versions.client_version(name)
        assert "not found" not in versions.client_version(name)


def test_a_program_that_is_missing_or_hangs_is_said(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (programs / "curl").unlink()
    monkeypatch.setenv("PATH", str(programs))
    assert versions.client_version("curl") == "not found"
    monkeypatch.setattr(versions, "PROGRAM_SECONDS", 0.05)
    (programs / "msmtp").write_text("#!/bin/sh\nexec /bin/sleep 5\n")
    assert versions.client_version("msmtp") == "no answer"
