"""Probes as one HTML page, without scripts. Pure, but for the page's own files.

What servers, resolvers and routers say is text: the template escapes it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from port25lab.machine.versions import own_version
from port25lab.probe.counted import blocked
from port25lab.probe.document import Probed
from port25lab.probe.hops_picture import pictures
from port25lab.probe.table import observed
from port25lab.probe.ways_out import in_words
from port25lab.report.text import visible


def page(probes: Sequence[Probed]) -> str:
    """The page: the last probe of each host whole, and how many there were."""
    last = {probed.view.host: probed for probed in probes}
    style = _text("port25lab.report.html", "page.css") + _text("port25lab.probe", "page.css")
    names = [probed.view.target for probed in last.values()]
    values = {
        "title": visible(f"Mail from here to {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}"),
        "hosts": [_host(probed, number, probes) for number, probed in enumerate(last.values())],
        "footer": f"port25lab {own_version()} probe",
        "style": Markup(style),  # noqa: S704  # the page's own file
        "style_digest": base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    }
    return str(_template().render(values))


def _host(probed: Probed, number: int, probes: Sequence[Probed]) -> dict[str, Any]:
    view = probed.view
    found = {(one.port, one.ip_version): one for one in probed.findings}
    return {
        "number": number,
        "name": visible(f"{view.target}, MX of {view.host}" if view.mx else view.target),
        "state": "good" if probed.working else "bad",
        "summary": _summary(probed),
        "when": f"{probed.probed}, {view.seconds:.1f} s{'' if view.raw else ', without CAP_NET_RAW'}",
        "probes": sum(one.view.host == view.host for one in probes),
        "says": [_said(statement) for statement in probed.says],
        "ways": [] if probed.working else [visible(way) for way in in_words(view, probed.findings, probed.ways_out)],
        "pictures": [Markup(svg) for svg in pictures(probed)],  # noqa: S704  # it escapes what it shows
        "rows": [
            {
                "port": one.port,
                "version": f"IPv{one.ip_version}",
                "address": visible(one.address),
                "seen": visible(observed(one)),
                "finding": _finding(found.get((one.port, one.ip_version))),
                "bad": _is_bad(found.get((one.port, one.ip_version))),
            }
            for one in sorted(view.sessions, key=lambda session: (session.port, session.ip_version))
        ],
    }


def _summary(probed: Probed) -> str:
    if probed.view.unresolved is not None:
        return visible(probed.view.unresolved)
    if probed.working:
        return "Mail gets through"
    first = next((statement for statement in probed.says if statement.where), None)
    return visible(f"{first.about}: stopped {first.where}") if first else "Mail does not get through"


def _said(statement: Any) -> dict[str, Any]:
    return {
        "about": statement.about,
        "bad": statement.where is not None,
        "what": visible(statement.what),
        "where": visible(statement.where) if statement.where else None,
        "sure": visible(statement.sure),
        "do": [visible(line) for line in statement.do],
        "whom": statement.whom,
        "letter": statement.letter,
    }


def _finding(diagnosis: Any) -> str:
    if diagnosis is None:
        return ""
    return " or ".join((diagnosis.mechanism, *diagnosis.alternatives))


def _is_bad(diagnosis: Any) -> bool:
    return diagnosis is not None and blocked(diagnosis)


@cache
def _text(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text("utf-8").strip()


@cache
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_text("port25lab.probe", "page.html"))
