"""A server of the user's in one Python file, beside the policy that sends mail to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.errors import InputError
from port25lab.pytest_plugin.labs import LabFactory

REDIRECT = "*nat\n-A PREROUTING -p tcp --dport 25 -j REDIRECT --to-ports 2525\nCOMMIT\n"

REFUSES = """\
async def handle(reader, writer, service):
    writer.write(f"{service['parameters']['words']}\\r\\n".encode())
    await writer.drain()
    await reader.read(1)
"""
FAILS = "async def handle(reader, writer, service):\n    raise KeyError('oops')\n"
BLOCKS = "import time\nasync def handle(reader, writer, service):\n    time.sleep(3600)\n"
HANDLER = """\
class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        return "550 5.7.1 not from here"
"""


def box(folder: Path, text: str, name: str = "handle") -> str:
    own = folder / "box"
    own.mkdir()
    service = f'{{kind: "./box.py:{name}", port: 2525, parameters: {{words: 554 5.7.1 not here}}}}'
    (own / "policy.yaml").write_text(f"title: Box\nservices: [{service}]\n")
    (own / "box.py").write_text(text)
    for rules in ("rules.v4", "rules.v6"):
        (own / rules).write_text(REDIRECT)
    return str(own)


@pytest.mark.parametrize(
    ("text", "name", "code", "mechanism"),
    [(REFUSES, "handle", 554, "refusing-greeting"), (HANDLER, "Handler", 550, "interception")],
)
def test_a_stream_handler_and_an_aiosmtpd_handler_take_mail(
    lab: LabFactory, tmp_path: Path, text: str, name: str, code: int, mechanism: str
) -> None:
    verdict = lab("hotel", policies={"isp-edge": box(tmp_path, text, name)}).send(source="guest-1", to="mx:example.net")
    assert (verdict.outcome, verdict.mechanism, verdict.observation.smtp_code) == ("intercepted", mechanism, code)
    assert verdict.evidence.answered_by == "isp-edge"
    assert verdict.blame is not None
    assert verdict.blame.line == 2


def test_a_handler_that_fails_is_an_error_with_its_line_and_no_verdict(lab: LabFactory, tmp_path: Path) -> None:
    own = box(tmp_path, FAILS)
    verdict = lab("hotel", policies={"isp-edge": own}).send(source="guest-1", to="mx:example.net")
    assert verdict.outcome == "error"
    assert f"{own}/box.py:2: KeyError: 'oops'" in str(verdict.evidence.error)


def test_a_handler_that_blocks_stops_itself_alone(lab: LabFactory, tmp_path: Path) -> None:
    hotel = lab("hotel", policies={"isp-edge": box(tmp_path, BLOCKS)})
    assert hotel.send(source="guest-1", to="mx:example.net").outcome == "intercepted"
    submitted = hotel.send(source="guest-1", to="company", port=587, security="starttls", auth={"user": "alice"})
    assert submitted.outcome == "delivered"


def test_a_file_that_cannot_be_loaded_is_named_with_its_line(lab: LabFactory, tmp_path: Path) -> None:
    own = box(tmp_path, f"import no_such_module\n{REFUSES}")
    verdict = lab("hotel", policies={"isp-edge": own}).send(source="guest-1", to="mx:example.net")
    assert verdict.outcome == "error"
    assert f"{own}/box.py:1: ModuleNotFoundError" in str(verdict.evidence.error)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def handle(", "box.py:1:11: not Python: '(' was never closed"),
        ("def handle(reader, writer, service): pass", "box.py: no coroutine or class 'handle'; async def handle"),
    ],
)
def test_a_file_without_a_handler_is_bad_input(lab: LabFactory, tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(InputError) as caught:
        lab("hotel", policies={"isp-edge": box(tmp_path, text)})
    assert error in str(caught.value)
