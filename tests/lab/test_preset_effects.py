"""Presets, in ways that a scenario's expectation does not say: which packet was dropped, and what a limit counts."""

from __future__ import annotations

from port25lab.pytest_plugin.labs import LabFactory


def test_op25b_in_lets_the_syn_out_and_drops_its_answer(lab: LabFactory) -> None:
    isp = lab("residential_isp", policies={"isp-edge": "op25b-in"})
    for version in (4, 6):
        verdict = isp.expect("dropped", by="isp-edge", source="pc", to="mx:example.net", ip_version=version)
        assert [decision.traced.kind for decision in verdict.evidence.decisions] == ["SYN-ACK"]
        assert verdict.observation.errno == "ETIMEDOUT"


def test_a_household_may_open_connections_again_and_again_that_it_closes(lab: LabFactory) -> None:
    isp = lab("residential_isp", policies={"isp-edge": "connection-limit"})
    for attempt in range(1, 5):
        isp.expect("delivered", source="home-server", to="mx:example.net", ip_version=6, attempt=attempt)


def test_redirected_mail_arrives_by_another_server_than_the_one_dialled(lab: LabFactory) -> None:
    isp = lab("residential_isp", policies={"isp-edge": "redirect"})
    verdict = isp.expect("intercepted", source="pc", to="mx:example.net", ip_version=4)
    assert {hop.node for hop in verdict.evidence.hops} == {"isp-relay"}
    assert verdict.evidence.hops[-1].observation.smtp_code == 250


def test_a_tls_session_to_the_name_is_reset_and_not_dropped(lab: LabFactory) -> None:
    isp = lab("residential_isp", policies={"isp-edge": "sni-reset"})
    for version in (4, 6):
        verdict = isp.expect(
            "tampered",
            by="isp-edge",
            source="pc",
            to="provider",
            port=465,
            security="implicit",
            auth="alice",
            ip_version=version,
        )
        assert [decision.effect for decision in verdict.evidence.decisions] == ["reject-reset"]
        assert verdict.observation.errno == "ECONNRESET"
