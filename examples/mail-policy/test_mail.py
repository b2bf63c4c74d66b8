"""What must never change, whatever becomes of the rules: a customer who reads the FAQ can send mail."""

from pathlib import Path

import pytest

EDGE = str(Path(__file__).parent / "policies" / "edge")


@pytest.fixture
def isp(lab):
    return lab("residential_isp", policies={"isp-edge": EDGE})


@pytest.mark.parametrize("ip_version", [4, 6])
@pytest.mark.parametrize(("port", "security"), [(587, "starttls"), (465, "implicit")])
def test_submission_is_open(isp, port, security, ip_version):
    isp.expect(
        "delivered", source="pc", to="provider", port=port, security=security, auth="alice", ip_version=ip_version
    )


def test_the_customer_is_told_and_need_not_wait(isp):
    verdict = isp.expect("rejected-icmp", by="isp-edge", source="home-server", to="mx:example.net", ip_version=4)
    assert verdict.observation.errno == "EHOSTUNREACH"
    assert verdict.blame.file.endswith("rules.v4")
