"""A probe on a console: what was seen on each port, the way there hop by hop, and what it means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from port25lab.model.evidence import Stage
from port25lab.model.mechanism import MECHANISM_INFO
from port25lab.probe.case import Diagnosis
from port25lab.probe.client_view import Answer, ClientView, Session, Trace
from port25lab.probe.counted import blocked
from port25lab.probe.document import Probed
from port25lab.probe.statement import Statement
from port25lab.probe.ways_out import in_words
from port25lab.report import text as text_module
from port25lab.report.console import emit

CELLS = {
    Answer.EXPIRED: Text("passes", "dim"),
    Answer.ACCEPTED: Text("takes it", "green"),
    Answer.RESET: Text("resets it", "magenta"),
    Answer.REFUSED: Text("refuses", "red"),
    Answer.SILENT: Text("silence", "yellow"),
}

WIDEST = 110


def print_probe(console: Console, probed: Probed) -> None:
    """Print a probe: ports, traceroutes, and what is said of them."""
    emit(console, Group(*_parts(console, probed)))


def _parts(console: Console, probed: Probed) -> Iterator[RenderableType]:
    view, diagnoses = probed.view, probed.findings
    yield _title(view)
    if view.sessions:
        yield Text()
        yield _ports(view, diagnoses)
    if view.deliveries or view.controls:
        yield Text()
        yield _others(view)
    for ways in _ways(view):
        yield Text()
        yield ways
    for statement in probed.says:
        yield Text()
        yield from _said(console, statement)
    others = [] if probed.working else in_words(view, diagnoses, probed.ways_out)
    if others:
        yield Text()
        yield Text("Ways out", "bold")
        yield _labelled(console, [("", way) for way in others], mark="- ")
    letters = [statement for statement in probed.says if statement.letter and statement.whom]
    if letters and not probed.working:
        yield Text()
        yield Text(f"To send to {letters[0].whom}", "bold")
        yield Text("\n".join(map(text_module.visible, str(letters[0].letter).rstrip().split("\n"))))


def _said(console: Console, statement: Statement) -> Iterator[RenderableType]:
    """What is said of some ports, label by label."""
    yield Text(statement.about, "bold")
    rows = [("what", statement.what)]
    if statement.where:
        rows += [("where", statement.where), ("sure", statement.sure)]
    elif statement.sure != "certain":
        rows.append(("sure", statement.sure))
    rows += [("do" if number == 0 else "", line) for number, line in enumerate(statement.do)]
    if statement.whom:
        rows.append(("ask", statement.whom))
    yield _labelled(console, rows)


def _labelled(console: Console, rows: Sequence[tuple[str, str]], mark: str = "") -> Table:
    """Labels, and texts that are folded on a terminal alone."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold", no_wrap=not console.is_terminal)
    if console.is_terminal:
        table.width = min(console.width, WIDEST)
    for label, text in rows:
        table.add_row(f"  {label}", f"{mark}{text_module.visible(text)}")
    return table


def _title(view: ClientView) -> Text:
    what = f"{view.target}, MX of {view.host}" if view.mx else view.target
    text = Text(text_module.visible(what), "bold")
    return text.append(f"   {view.seconds:.1f} s", "dim").append("" if view.raw else ", without CAP_NET_RAW", "dim")


def _ports(view: ClientView, diagnoses: Sequence[Diagnosis]) -> Table:
    found = {(diagnosis.port, diagnosis.ip_version): diagnosis for diagnosis in diagnoses}
    table = _table("port", "IP", "address", "what was seen", "diagnosis", "hop")
    for one in sorted(view.sessions, key=lambda session: (session.port, session.ip_version)):
        diagnosis = found.get((one.port, one.ip_version))
        table.add_row(
            str(one.port),
            str(one.ip_version),
            text_module.visible(one.address),
            text_module.visible(observed(one)),
            *((_verdict(diagnosis), "" if diagnosis.hop is None else str(diagnosis.hop)) if diagnosis else ("", "")),
        )
    return table


def _others(view: ClientView) -> Table:
    table = _table("also", "port", "IP", "what was seen")
    for what, sessions in (("message", view.deliveries), ("control", view.controls)):
        for one in sessions:
            name = f"{what}: {one.host}" if what == "control" else what
            table.add_row(
                text_module.visible(name), str(one.port), str(one.ip_version), text_module.visible(observed(one))
            )
    return table


def _verdict(diagnosis: Diagnosis) -> Text:
    """The mechanisms that fit, the likeliest first."""
    style = "green" if not blocked(diagnosis) else "red" if MECHANISM_INFO[diagnosis.mechanism].middle else "magenta"
    both = "".join(f" + {mechanism}" for mechanism in diagnosis.also)
    return Text(f"{diagnosis.mechanism}{both}", style).append(
        "".join(f" or {mechanism}" for mechanism in diagnosis.alternatives), "dim"
    )


def observed(session: Session) -> str:
    """One connection in a few words."""
    if not session.connected:
        return _unconnected(session)
    parts = [_greeting(session)]
    if session.tls:
        proof = session.certificate.problem if session.certificate else None
        parts.append(f"{session.tls}{f' (certificate: {proof})' if proof else ''}")
    if "AUTH" in (session.keywords_tls or session.keywords):
        parts.append("AUTH")
    if session.stage is not Stage.DONE and session.stage is not Stage.BANNER:
        parts.append(f"ends at {session.stage}: {_end(session)}")
    return ", ".join(part for part in parts if part)


def _greeting(session: Session) -> str:
    banner = " ".join((session.banner or "").split())[:60]
    if session.stage is Stage.BANNER:
        return f"{session.smtp_code} {banner}" if session.smtp_code else f"taken, {_end(session)}"
    return f"220 {banner}" if banner else "taken"


def _end(session: Session) -> str:
    if session.smtp_code:
        return f"{session.smtp_code} {' '.join((session.reply or '').split())[:60]}"
    if session.errno == "ETIMEDOUT" and session.stage is Stage.BANNER and session.heard:
        return f"{session.heard} bytes in {session.seconds:.1f} s, and no end"
    if session.errno == "ETIMEDOUT":
        return f"silence for the rest of {session.seconds:.1f} s"
    return session.errno or (session.reply or "")[:60]


def _unconnected(session: Session) -> str:
    if session.icmp is not None:
        kind = "ICMP" if session.icmp.ip_version == 4 else "ICMPv6"
        return f"{kind} {session.icmp.type}/{session.icmp.code} from {session.icmp.sender} ({session.errno})"
    if session.errno == "ETIMEDOUT":
        return f"no answer (ETIMEDOUT, {session.seconds:.1f} s)"
    return "reset (ECONNREFUSED)" if session.errno == "ECONNREFUSED" else f"{session.errno}"


def _ways(view: ClientView) -> Iterator[Table]:
    """For each IP version a table: hops down, ports across."""
    for version in (4, 6):
        traces = sorted((one for one in view.traces if one.ip_version == version), key=lambda one: _order(view, one))
        if traces:
            yield _way(view, version, traces)


def _order(view: ClientView, trace: Trace) -> tuple[bool, int]:
    return trace.host != view.target, trace.port


def _way(view: ClientView, version: int, traces: Sequence[Trace]) -> Table:
    names = [str(one.port) if one.host == view.target else f"{one.port} of {one.host}" for one in traces]
    table = _table(f"hop IPv{version}", "router", *(text_module.visible(name) for name in names))
    routers: dict[int, set[str]] = {}
    for trace in traces:
        for hop, router in trace.routers.items():
            routers.setdefault(hop, set()).add(router)
    for hop in range(1, max(_last_shown(trace) for trace in traces) + 1):
        cells = [_cell(trace, hop) for trace in traces]
        name = " ".join(sorted(routers.get(hop, ())))
        table.add_row(str(hop), text_module.visible(name), *cells)
    return table


def _last_shown(trace: Trace) -> int:
    """The last hop to show: where an answer came, or the first without one."""
    return trace.answered_at or min(trace.last_hop + 1, trace.furthest)


def _cell(trace: Trace, hop: int) -> Text:
    step = next((one for one in trace.steps if one.ttl == hop), None)
    if step is None or hop > _last_shown(trace):
        return Text("")
    return CELLS[step.answer]


def _table(*names: str) -> Table:
    columns = [Column(name, overflow="fold") for name in names]
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
