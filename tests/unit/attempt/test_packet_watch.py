"""The filter of hand-made packets, beside what tcpdump takes for the same expression."""

from __future__ import annotations

import pytest

from bpf_comparison import differences
from bpf_interpreter import NO_TCPDUMP
from port25lab.attempt.packet_watch import FILTER

WANTED = (
    "(ip and (not ip proto 6 or ip[6:2] & 0x3fff != 0 or tcp[13] & 6 != 0))"
    " or (ip6 and (ip6[6] != 6 or ip6[53] & 6 != 0))"
)


@pytest.mark.skipif(NO_TCPDUMP is not None, reason=str(NO_TCPDUMP))
def test_the_filter_takes_what_tcpdump_takes() -> None:
    assert differences(FILTER, WANTED, "RAW") == []
