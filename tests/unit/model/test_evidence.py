"""Texts of the evidence are made from its facts, and never read back."""

from __future__ import annotations

from evidence_factory import decision, difference, ended, in_session, on_answer, wire
from port25lab.model.evidence import Decision, Evidence, PacketSeen, PacketSummary, Stage, StreamSide


def test_a_packet_in_words_has_its_addresses_and_ports() -> None:
    assert str(decision().traced) == decision().packet == "SYN 198.51.100.7:20000 > 203.0.113.25:25"
    assert on_answer().packet == "SYN-ACK 203.0.113.25:25 > 198.51.100.7:20000"
    assert in_session().packet == "segment"
    ipv6 = PacketSummary(
        kind="SYN", source="2001:db8::7", source_port=1, destination="2001:db8::25", destination_port=2
    )
    assert str(ipv6) == "SYN [2001:db8::7]:1 > [2001:db8::25]:2"
    assert str(PacketSummary(kind="an INIT", source="192.0.2.1", destination="192.0.2.2")) == (
        "an INIT 192.0.2.1 > 192.0.2.2"
    )


def test_the_json_has_the_texts_beside_the_facts() -> None:
    evidence = ended(
        Stage.DONE, decisions=[decision()], packets=wire(), difference=difference("220 ***", "220 mx ESMTP")
    )
    data = evidence.model_dump(mode="json")
    assert data["decisions"][0]["packet"] == "SYN 198.51.100.7:20000 > 203.0.113.25:25"
    assert data["packets"][0]["at"] == "pc/eth0"
    assert data["divergence"] == 'client side: "220 ***", server side: "220 mx ESMTP" (server to client, byte 4)'


def test_on_the_way_to_the_engine_the_texts_are_left_out() -> None:
    evidence = ended(Stage.DONE, decisions=[decision()], packets=wire())
    data = evidence.model_dump(mode="json", round_trip=True)
    assert "packet" not in data["decisions"][0]
    assert "at" not in data["packets"][0]
    assert "divergence" not in data
    assert Evidence.model_validate(data) == evidence
    assert set(Decision.model_computed_fields) == {"packet"}
    assert set(PacketSeen.model_computed_fields) == {"at"}


def test_a_side_is_quoted_cut_shown_in_hexadecimal_or_said_to_have_ended() -> None:
    assert str(StreamSide(line="EHLO a")) == '"EHLO a"'
    assert str(StreamSide(line="EHLO", shortened=True)) == '"EHLO"...'
    assert str(StreamSide(octets="16 03")) == "bytes 16 03"
    assert (str(StreamSide(ended=True)), str(StreamSide())) == ("nothing more", "nothing")
