"""Middleboxes in real labs, beyond the outcomes that scenarios/middleboxes.yaml expects of them."""

import json
from dataclasses import replace
from typing import Any

import pytest

from port25lab.engine.engine import Engine
from port25lab.engine.progress import Quiet
from port25lab.errors import MachineError
from port25lab.machine import doctor, feature, kernel_features
from port25lab.model.path import PathSpec
from port25lab.pytest_plugin.labs import LabFactory, LabUnderTest
from port25lab.scenario.questions import lab_config, question_about

MX = {4: "192.0.2.25", 6: "2001:db8:25::25"}

TALK = """
import json, socket, sys
address, *said = json.load(sys.stdin)
with socket.create_connection((address, 25), timeout=20) as sock, sock.makefile("rb") as replies:
    def reply():
        lines = [replies.readline().decode()]
        while lines[-1][3:4] == "-":
            lines.append(replies.readline().decode())
        return lines
    heard = [reply()]
    for line in said:
        sock.sendall(line.encode())
        heard.append(reply())
print(json.dumps(heard))
"""


def talk(lab: LabUnderTest, address: str, *said: str) -> list[list[str]]:
    """Say these lines to a server from pc; all lines of each reply, the greeting first."""
    done = lab.run("pc", "python3", "-c", TALK, stdin=json.dumps([address, *said]))
    assert done["returncode"] == 0, done["stderr"]
    heard: list[list[str]] = json.loads(done["stdout"])
    return heard


def behind(lab: LabFactory, policy: str) -> LabUnderTest:
    return lab("residential_isp", policies={"isp-edge": policy})


def home(version: int, **more: Any) -> dict[str, Any]:
    """Self-hosted mail from home to the MX."""
    return {"source": "home-server", "to": "mx:example.net", "ip_version": version} | more


@pytest.mark.parametrize("version", [4, 6])
def test_an_intercepting_relay_delivers_from_its_own_address(lab: LabFactory, version: int) -> None:
    verdict = behind(lab, "intercept-relay").expect("intercepted", **home(version))
    assert verdict.observation.stage == "done"
    assert verdict.observation.banner == "isp-edge.port25lab.example ESMTP port25lab"
    assert [hop.node for hop in verdict.evidence.hops] == ["isp-edge"]
    assert verdict.evidence.hops[-1].observation.stage == "done"


@pytest.mark.parametrize("version", [4, 6])
def test_an_interceptor_has_a_certificate_of_its_own(lab: LabFactory, version: int) -> None:
    verdict = behind(lab, "intercept-relay").expect("intercepted", **home(version, security="starttls"))
    assert verdict.observation.stage == "tls"
    assert "ostname mismatch" in (verdict.observation.reply or "")


def test_mail_inside_the_network_is_not_intercepted(lab: LabFactory) -> None:
    behind(lab, "intercept-bounce").expect("delivered", source="pc", to="isp-relay")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("policy", ["asa-fixup", "asa-fixup-inline"])
def test_fixup_masks_and_mail_is_delivered_in_clear(lab: LabFactory, policy: str, version: int) -> None:
    verdict = behind(lab, policy).expect("delivered", **home(version, size=100_000))
    assert set(verdict.observation.banner or "") == {"*"}
    assert "STARTTLS" not in verdict.observation.keywords
    assert {"SIZE", "ENHANCEDSTATUSCODES"} <= set(verdict.observation.keywords)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("policy", ["asa-fixup", "asa-fixup-inline"])
def test_fixup_masks_line_by_line(lab: LabFactory, policy: str, version: int) -> None:
    banner, ehlo, starttls, long, end = talk(
        behind(lab, policy),
        MX[version],
        "EHLO pc.example\r\n",
        "STARTTLS\r\n",
        "VRFY " + "x" * 800 + "@example.net\r\n",
        "QUIT\r\n",
    )
    assert banner == ["220 " + "*" * len("mx.example.net ESMTP port25lab") + "\r\n"]
    assert ehlo[0] == "250-mx.example.net\r\n"
    assert "250-XXXXXXXX\r\n" in ehlo
    assert starttls == ['500 5.5.2 Error: command "XXXXXXXX" not recognized\r\n']
    assert long[0][:3] != "221"
    assert end == ["221 2.0.0 Bye\r\n"]


def test_fixup_cuts_a_command_line_that_the_server_would_refuse(lab: LabFactory) -> None:
    said = "VRFY <" + "x" * 500 + "@example.net>" + " " * 500 + "\r\n"
    plain, cut = (
        talk(lab("residential_isp", policies=policies), MX[4], "EHLO pc.example\r\n", said)[-1][0]
        for policies in ({}, {"isp-edge": "asa-fixup"})
    )
    assert plain.startswith("500 ")
    assert not cut.startswith("500 ")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("policy", "stage", "code", "reply"),
    [
        ("greeting-554", "banner", 554, "5.7.1 Outbound mail on port 25 is blocked here"),
        ("greeting-421", "banner", 421, "4.3.2 Service not available"),
        ("accept-close", "banner", None, "the server closed the connection"),
        ("intercept-bounce", "rcpt", 550, "5.7.1 Mail from your address goes by the relay of your provider"),
    ],
)
def test_what_a_client_hears_of_it(
    lab: LabFactory, policy: str, stage: str, code: int | None, reply: str, version: int
) -> None:
    seen = behind(lab, policy).expect("intercepted", **home(version)).observation
    assert (seen.stage, seen.smtp_code, seen.reply) == (stage, code, reply)


@pytest.mark.parametrize("client", ["aiosmtplib", "smtplib", "swaks"])
def test_no_client_waits_for_ever_in_a_tarpit(lab: LabFactory, client: str) -> None:
    seen = behind(lab, "tarpit").expect("intercepted", **home(4, client=client)).observation
    assert seen.stage == "banner"
    assert seen.smtp_code is None
    assert 5 <= seen.seconds < 20


@pytest.mark.parametrize("version", [4, 6])
def test_a_name_in_tls_is_reset_and_the_rule_is_named(lab: LabFactory, version: int) -> None:
    path: dict[str, Any] = {"port": 465, "security": "implicit", "auth": "alice", "ip_version": version}
    verdict = behind(lab, "sni-reset").expect("tampered", by="isp-edge", source="pc", to="provider", **path)
    assert (verdict.observation.stage, verdict.observation.errno) == ("tls", "ECONNRESET")
    assert verdict.blame is not None
    assert "--reject-with tcp-reset" in verdict.blame.rule
    behind(lab, "sni-reset").expect("delivered", source="pc", to="company", **path)


@pytest.mark.parametrize("version", [4, 6])
def test_large_mail_hangs_in_a_black_hole_and_the_rule_is_named(lab: LabFactory, version: int) -> None:
    verdict = behind(lab, "mtu-black-hole").expect("tampered", by="isp-edge", **home(version, size=40_000))
    assert (verdict.observation.stage, verdict.observation.smtp_code) == ("data", None)
    assert verdict.blame is not None
    assert "--length 1401:65535" in verdict.blame.rule
    behind(lab, "mtu-black-hole").expect("delivered", **home(version))


def test_a_relay_comes_again_where_it_was_greylisted(lab: LabFactory) -> None:
    verdict = lab("residential_isp").expect(
        "delivered", source="office", to="isp-relay", recipient="one@greylisting.example", sender="boss@office.example"
    )
    codes = [hop.observation.smtp_code for hop in verdict.evidence.hops]
    assert codes[0] == 450
    assert codes[-1] == 250


def test_a_machine_without_nfqueue_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking() -> str:
        raise OSError("no chain/target/match by that name")

    features = [feature for feature in kernel_features.KERNEL if feature.name == "NFQUEUE"]
    monkeypatch.setattr(kernel_features, "KERNEL", [replace(features[0], check=lacking)])
    monkeypatch.setattr(feature, "modules_remedy", lambda names: f"sudo modprobe --all {' '.join(names)}")
    doctor.require_kernel.cache_clear()
    config = lab_config("residential_isp", {"isp-edge": "asa-fixup-inline"}, {})
    question = question_about(PathSpec(source="pc", to="mx"), config)
    with Engine(Quiet()) as engine, pytest.raises(MachineError) as refused:
        engine.verdicts([question])
    doctor.require_kernel.cache_clear()
    assert str(refused.value) == (
        "policy asa-fixup-inline needs NFQUEUE of the kernel: no chain/target/match by that name; "
        "sudo modprobe --all xt_NFQUEUE nfnetlink_queue"
    )
