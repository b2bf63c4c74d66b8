"""What a probe says: for each fault what, where, how sure and why, what to do, and whom to ask."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from port25lab.model.addresses import IpVersion
from port25lab.model.mechanism import Mechanism
from port25lab.probe import ambiguous
from port25lab.probe.advice import WHERE, WHOM, what_to_do
from port25lab.probe.case import Diagnosis
from port25lab.probe.client_view import ClientView
from port25lab.probe.counted import blocked, worth_telling
from port25lab.probe.letters import letter
from port25lab.probe.meanings import meaning
from port25lab.probe.places import Place


class Statement(BaseModel):
    """What is said of ports and IP versions with the same diagnosis."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ports: tuple[int, ...]
    ip_versions: tuple[IpVersion, ...]
    mechanism: Mechanism
    place: Place | None
    what: str
    """What was seen, and what it means."""
    where: str | None
    """None: nothing is wrong."""
    sure: str
    """How sure that is, and why."""
    do: tuple[str, ...]
    whom: str | None
    """Who can change it; None: the reader can, or there is nothing to change."""
    letter: str | None
    """A text to send to them."""

    @property
    def about(self) -> str:
        """``Port 25 over IPv4 and IPv6``."""
        return _about(self.ports, self.ip_versions)


def statements(view: ClientView, diagnoses: Sequence[Diagnosis], when: str) -> list[Statement]:
    """One for each diagnosis that is worth a word, port 25 first. ``when``: the time of the probe, for letters."""
    told = [diagnosis for diagnosis in diagnoses if worth_telling(view, diagnosis)]
    return [_statement(view, group, when) for group in _groups(told)]


def _groups(diagnoses: Sequence[Diagnosis]) -> list[list[Diagnosis]]:
    """Diagnoses that say the same of several ports or of both IP versions, together. Port 25 comes first."""
    groups: dict[tuple[object, ...], list[Diagnosis]] = {}
    for one in sorted(diagnoses, key=lambda diagnosis: (diagnosis.port, diagnosis.ip_version)):
        key = (one.mechanism, one.alternatives, one.also, one.hop, one.until, one.place, one.places, one.cause)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _statement(view: ClientView, group: Sequence[Diagnosis], when: str) -> Statement:
    first = group[0]
    wrong = blocked(first)
    place = first.place if wrong else None
    return Statement(
        ports=tuple(dict.fromkeys(diagnosis.port for diagnosis in group)),
        ip_versions=tuple(sorted({diagnosis.ip_version for diagnosis in group})),
        mechanism=first.mechanism,
        place=place,
        what=" ".join([f"{first.reason[0].upper()}{first.reason[1:]}.", *meaning(view, group)]),
        where=_where(first) if place else None,
        sure=_sure(first, wrong=wrong),
        do=what_to_do(first) if place else (),
        whom=WHOM.get(place) if place else None,
        letter=letter(view, group, when) if place else None,
    )


def _where(diagnosis: Diagnosis) -> str:
    assert diagnosis.place is not None
    router = f" ({diagnosis.router})" if diagnosis.router else ""
    behind = ""
    if diagnosis.hop is not None and (diagnosis.until or 0) > diagnosis.hop + 1:
        behind = f", or behind it and before hop {diagnosis.until}"
    hop = f", hop {diagnosis.hop}{router}{behind}" if diagnosis.hop else ""
    others = "".join(f", or {WHERE[place]}" for place in diagnosis.places)
    return f"{WHERE[diagnosis.place]}{others}{hop}"


def _sure(diagnosis: Diagnosis, *, wrong: bool) -> str:
    parts = []
    if not diagnosis.certain:
        others = " or ".join(diagnosis.alternatives)
        pair = ambiguous.explain(diagnosis.candidates)
        why = f": {pair.reason}; {pair.remedy}" if pair else ""
        parts.append(f"{diagnosis.mechanism}, or else {others}{why}")
    if wrong and diagnosis.places and diagnosis.place_reason:
        parts.append(f"the place is one of {len(diagnosis.places) + 1}: {diagnosis.place_reason}")
    elif wrong and diagnosis.place_reason:
        parts.append(f"the place is certain: {diagnosis.place_reason}")
    return "; ".join(parts) or "certain"


def _about(ports: Sequence[int], versions: Sequence[int]) -> str:
    port = f"{'Port' if len(ports) == 1 else 'Ports'} {_all([str(port) for port in ports])}"
    return f"{port} over {_all([f'IPv{version}' for version in versions])}"


def _all(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
