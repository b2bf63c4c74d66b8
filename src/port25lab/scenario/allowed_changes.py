"""Changes of a router's rules, and the file of those that are wanted: ``check NEW --against OLD --allow FILE``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field

from port25lab.model.addresses import IpVersion
from port25lab.model.verdict import Verdict
from port25lab.scenario import document as document_module
from port25lab.scenario.document import Strict


@dataclass(frozen=True)
class Change:
    """A path that ends otherwise under the new rules, or by another rule."""

    before: Verdict | None
    """None: the path is not asked under the old rules."""
    after: Verdict

    @property
    def outcome_changed(self) -> bool:
        """Whether another outcome is found, and not only another rule for the same one."""
        return self.before is None or self.before.outcome is not self.after.outcome


class Allowed(Strict):
    """A change that is wanted."""

    source: Annotated[str | None, Field(alias="from")] = None
    to: str | None = None
    port: int | None = None
    ip: IpVersion | None = None
    reason: Annotated[str, Field(min_length=1)]
    expires: date


class AllowedFile(Strict):
    """The whole file."""

    allow: tuple[Allowed, ...]


def read(file: Path) -> list[Allowed]:
    """Read the file. Raises InputError."""
    document = document_module.read_yaml(file, dates=True)
    return list(document_module.validated(document, AllowedFile).allow)


def reason_for(change: Change, allowed: Iterable[Allowed], today: date | None = None) -> str | None:
    """Why a change is wanted; None: it is not, or the permission has expired. ``today``: None for the real date."""
    path = change.after.question.path
    for one in allowed:
        fits = (
            one.source in (None, path.source)
            and one.to in (None, path.to, path.to.removeprefix("mx:"))
            and one.port in (None, path.port)
            and one.ip in (None, path.ip_version)
        )
        if fits and one.expires >= (today or date.today()):
            return one.reason
    return None
