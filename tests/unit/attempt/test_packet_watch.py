"""The filter for marked packets, beside what tcpdump takes for the same expression."""

from __future__ import annotations

import pytest

from bpf_comparison import differences
from bpf_interpreter import NO_TCPDUMP
from port25lab.attempt.packet_watch import FILTER
from port25lab.evidence.rule_trace import MARK

MARKED = f"(ip and ip[1] & 0xfc = {MARK << 2}) or (ip6 and ip6[0:2] & 0x0fc0 = {MARK << 6})"


@pytest.mark.skipif(NO_TCPDUMP is not None, reason=str(NO_TCPDUMP))
def test_the_filter_takes_what_tcpdump_takes() -> None:
    assert differences(FILTER, MARKED, "RAW") == []
