"""Which packets each depth of capture keeps, beside what tcpdump keeps for the same expression."""

from __future__ import annotations

import pytest

from bpf_comparison import differences
from bpf_interpreter import NO_TCPDUMP, run
from packet_factory import ethernet, frames, icmp4, icmp6, ipv4, tcp
from port25lab.evidence.deciding_packets import PASSING
from port25lab.kernel.headers import IPV4_ERRORS, IPV6_ERRORS, opens_or_ends, parse
from port25lab.kernel.packet_ring import EVERYTHING, LIGHT, SESSIONS, Depth

ICMP_ERRORS = " or ".join(
    [*(f"icmp[0] = {kind}" for kind in (3, 11, 12)), *(f"(ip6[6] = 58 and ip6[40] = {kind})" for kind in (1, 2, 3, 4))]
)
EXTENSIONS = " or ".join(f"ip6[6] = {following}" for following in (0, 43, 44, 51, 60, 135))

OPENS_OR_ENDS = (
    "(ip[9] = 6 and ip[6:2] & 0x3fff != 0)"  # a fragment
    " or tcp[tcpflags] & (tcp-syn | tcp-fin | tcp-rst) != 0 or (ip6[6] = 6 and ip6[53] & 0x07 != 0)"
)


@pytest.mark.skipif(NO_TCPDUMP is not None, reason=str(NO_TCPDUMP))
@pytest.mark.parametrize(
    ("depth", "expression"),
    [
        (LIGHT, f"{OPENS_OR_ENDS} or {EXTENSIONS} or {ICMP_ERRORS}"),
        (SESSIONS, f"ip[9] = 6 or ip6[6] = 6 or {EXTENSIONS} or {ICMP_ERRORS}"),
        (EVERYTHING, ""),
    ],
    ids=["light", "sessions", "everything"],
)
def test_a_depth_keeps_what_tcpdump_keeps(depth: Depth, expression: str) -> None:
    assert differences(depth.program, expression, "EN10MB", depth.snaplen) == []


def test_the_light_capture_keeps_every_packet_that_decides_something() -> None:
    sane = [frame for frame in frames().values() if (frame[12:14] == b"\x86\xdd") is (frame[14] >> 4 == 6)]
    deciding = [frame for frame in sane if (packet := parse(frame)) and packet.kind not in PASSING]
    assert len(deciding) > 500
    assert all(map(opens_or_ends, deciding))
    assert all(run(LIGHT.program, frame) == LIGHT.snaplen for frame in deciding)


def test_the_light_capture_keeps_the_errors_that_are_read_and_no_session() -> None:
    kept = {kind for kind in range(256) if run(LIGHT.program, ethernet(icmp4(kind)))}
    kept6 = {kind for kind in range(256) if run(LIGHT.program, ethernet(icmp6(kind)))}
    assert (kept, kept6) == (IPV4_ERRORS, IPV6_ERRORS)
    data = ethernet(ipv4(tcp(0x18, b"EHLO"), 6))
    assert (run(LIGHT.program, data), run(SESSIONS.program, data)) == (0, SESSIONS.snaplen)
