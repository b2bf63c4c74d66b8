"""The hops of a probe as an SVG: a column for each router, a line for each port, and where it ends. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from port25lab.model.mechanism import MECHANISM_INFO
from port25lab.probe.case import Diagnosis
from port25lab.probe.client_view import Answer, Trace
from port25lab.probe.counted import blocked
from port25lab.probe.document import Probed

_LEFT, _TOP, _COLUMN, _ROW = 120, 62, 128, 30
"""Pixels: room for names at the left and on top, and for each hop and port."""

_SHOWN = 22
"""Characters of an address that fit into a column."""


def pictures(probed: Probed) -> Iterator[str]:
    """A picture for each IP version with traceroutes to the host."""
    for version in (4, 6):
        traces = [one for one in probed.view.traces if one.ip_version == version and one.host == probed.view.target]
        if traces:
            yield _picture(probed, version, sorted(traces, key=lambda trace: trace.port))


def _picture(probed: Probed, version: int, traces: Sequence[Trace]) -> str:
    found = {one.port: one for one in probed.findings if one.ip_version == version}
    hops = max(max(trace.answered_at or 0, trace.last_hop + 1) for trace in traces)
    hops = max(hops, *(one.hop or 0 for one in found.values())) if found else hops
    routers: dict[int, str] = {}
    for trace in traces:
        routers |= trace.routers
    width, height = _LEFT + hops * _COLUMN + 160, _TOP + len(traces) * _ROW + 14
    parts = [
        f'<svg class="hops" xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(_summary(version, traces, found))}">',
        *_columns(hops, routers, version, height, {one.hop for one in found.values() if blocked(one) and one.hop}),
    ]
    for number, trace in enumerate(traces):
        parts += _line(trace, found.get(trace.port), _TOP + number * _ROW + _ROW // 2, hops)
    return "".join([*parts, "</svg>"])


def _summary(version: int, traces: Sequence[Trace], found: dict[int, Diagnosis]) -> str:
    ends = []
    for trace in traces:
        diagnosis = found.get(trace.port)
        if diagnosis is None or not blocked(diagnosis):
            ends.append(f"port {trace.port} reaches the server")
        else:
            where = f" at hop {diagnosis.hop}" if diagnosis.hop else ""
            ends.append(f"port {trace.port}: {diagnosis.mechanism}{where}")
    return f"IPv{version}, hop by hop: {'; '.join(ends)}"


def _columns(hops: int, routers: dict[int, str], version: int, height: int, bad: set[int]) -> Iterator[str]:
    yield f'<text x="8" y="20">IPv{version}</text><text class="soft" x="8" y="36">port</text>'
    for hop in range(hops + 1):
        x = _x(hop)
        if hop in bad:
            yield f'<rect class="band" x="{x - 30}" y="4" width="60" height="{height - 10}" rx="6"/>'
        name = "this machine" if hop == 0 else f"hop {hop}"
        address = escape(routers.get(hop, "")[:_SHOWN])
        yield f'<line class="grid" x1="{x}" y1="46" x2="{x}" y2="{height - 8}"/>'
        yield f'<text x="{x}" y="20" text-anchor="middle">{name}</text>'
        yield f'<text class="soft" x="{x}" y="36" text-anchor="middle">{address}</text>'


def _line(trace: Trace, diagnosis: Diagnosis | None, y: int, hops: int) -> Iterator[str]:
    """How far SYNs to a port come, and what happens there."""
    yield f'<text x="8" y="{y + 4}">{trace.port}</text>'
    wrong = diagnosis is not None and blocked(diagnosis)
    end = trace.answered_at or trace.last_hop
    answer = next((step.answer for step in trace.steps if step.ttl == trace.answered_at), Answer.SILENT)
    if not wrong:
        yield f'<path class="way" d="M{_x(0)} {y}H{_x(end)}"/>'
        yield f'<circle class="dot" cx="{_x(end)}" cy="{y}" r="4"/>'
        yield f'<text class="soft" x="{_x(end) + 10}" y="{y + 4}">the server answers</text>'
        return
    assert diagnosis is not None
    stop = diagnosis.hop if diagnosis.hop is not None else end
    if not MECHANISM_INFO[diagnosis.mechanism].middle and diagnosis.hop is None:
        yield f'<path class="neutral" d="M{_x(0)} {y}H{_x(end)}"/>'
        yield f'<text class="soft" x="{_x(end) + 10}" y="{y + 4}">{escape(str(diagnosis.mechanism))}</text>'
        return
    kind = "other" if answer is Answer.ACCEPTED else "stop"
    yield f'<path class="{kind}" d="M{_x(0)} {y}H{_x(stop)}"/>'
    if kind == "other":
        yield f'<rect class="taker" x="{_x(stop) - 6}" y="{y - 6}" width="12" height="12"/>'
    else:
        yield f'<path class="lost" d="M{_x(stop)} {y}H{_x(min(stop + 1, hops))}"/>'
        yield f'<text class="mark" x="{_x(stop)}" y="{y + 5}" text-anchor="middle">✕</text>'
    yield f'<text class="soft" x="{_x(stop) + 12}" y="{y - 5}">{escape(str(diagnosis.mechanism))}</text>'


def _x(hop: int) -> int:
    return _LEFT + hop * _COLUMN
