"""Which packets the capture of TTLs takes, beside what tcpdump takes for the same expression."""

from __future__ import annotations

import pytest

from bpf_comparison import differences
from bpf_interpreter import NO_TCPDUMP, run
from packet_factory import ipv4, ipv6, tcp
from port25lab.probe.ttl_capture import FILTER, SNAPLEN

SYN_OR_RST = "tcp[tcpflags] & (tcp-syn | tcp-rst) != 0 or (ip6[6] = 6 and ip6[53] & 0x06 != 0)"


@pytest.mark.skipif(NO_TCPDUMP is not None, reason=str(NO_TCPDUMP))
def test_the_filter_takes_what_tcpdump_takes() -> None:
    assert differences(FILTER, SYN_OR_RST, "RAW", SNAPLEN) == []


def test_answers_to_a_syn_are_taken_and_a_session_is_not() -> None:
    for flags, taken in ((0x12, True), (0x14, True), (0x10, False), (0x18, False), (0x11, False)):
        assert [run(FILTER, packet(tcp(flags), 6)) > 0 for packet in (ipv4, ipv6)] == [taken] * 2


def test_a_later_fragment_is_left_out_whatever_stands_where_the_flags_would_be() -> None:
    assert run(FILTER, ipv4(b"\xff" * 40, 6, fragment=1)) == 0
