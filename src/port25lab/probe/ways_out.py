"""The ways that a message can take instead, each with what proves that it reaches the real server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from port25lab.model.evidence import Stage
from port25lab.probe.advice import WAYS_HELP
from port25lab.probe.case import Diagnosis
from port25lab.probe.client_view import ClientView, Session
from port25lab.probe.counted import blocked, counted

WAYS = {
    587: "port 587, STARTTLS and a log-in",
    465: "port 465, TLS from the first byte and a log-in (RFC 8314)",
    2525: "port 2525, STARTTLS and a log-in (relay services have it)",
}


class WayOut(BaseModel):
    """A port of the same host that works from here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int
    ip_versions: tuple[int, ...]
    proven: bool
    """Whether a certificate proved that the real server answers there."""
    why: str
    """What proves it, or what is missing."""


def ways_out(view: ClientView, diagnoses: Sequence[Diagnosis]) -> list[WayOut]:
    """The submission ports of the host that are open from here, the proven ones first. Intercepted ones are none."""
    found: dict[tuple[int, bool, str], list[int]] = {}
    for port in WAYS:
        for diagnosis in diagnoses:
            session = view.session(port, diagnosis.ip_version) if diagnosis.port == port else None
            if session is None or session.stage is not Stage.DONE or blocked(diagnosis):
                continue
            if "AUTH" not in (*session.keywords_tls, *session.keywords):
                continue
            proven = diagnosis.certain and session.certificate is not None and session.certificate.problem is None
            found.setdefault((port, proven, _why(session, proven)), []).append(diagnosis.ip_version)
    made = [
        WayOut(port=port, ip_versions=tuple(sorted(versions)), proven=proven, why=why)
        for (port, proven, why), versions in found.items()
    ]
    return sorted(made, key=lambda way: not way.proven)


def _why(session: Session, proven: bool) -> str:
    if proven:
        return f"its certificate is that of {session.host}"
    if session.certificate is None:
        return "it offers no TLS, so that nothing proves who answers"
    return f"its certificate proves nothing: {session.certificate.problem or 'another server may answer'}"


def in_words(view: ClientView, diagnoses: Sequence[Diagnosis], found: Sequence[WayOut]) -> list[str]:
    """A line for each way out; none where another port is no help."""
    wrong = [diagnosis for diagnosis in counted(view, diagnoses) if blocked(diagnosis)]
    if not any(diagnosis.candidates & WAYS_HELP for diagnosis in wrong):
        return []
    return list(_lines(view, diagnoses, found))


def _lines(view: ClientView, diagnoses: Sequence[Diagnosis], found: Sequence[WayOut]) -> Iterator[str]:
    for way in found:
        versions = " and ".join(f"IPv{version}" for version in way.ip_versions)
        state = "proven" if way.proven else "open, not proven"
        yield f"{WAYS[way.port]}, at {view.target} over {versions}: {state} from here, {way.why}"
    if not any(way.proven for way in found):
        taken = {one.port for one in diagnoses if one.port in WAYS and _is_shut(one)}
        names = [f"port {port}" for port in WAYS if port not in taken]
        if names:
            yield f"{' or '.join(names)} of a mail provider or relay service with an account of yours: not tried here"
    yield "the relay of your own provider, as a smarthost"


def _is_shut(diagnosis: Diagnosis) -> bool:
    return diagnosis.mechanism in WAYS_HELP
