"""One line of the log of a lab's services."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class LogLine(BaseModel):
    """What a service did."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: float
    """Seconds since 1970."""
    node: str
    what: str
    """The service, such as ``smtp on port 25``."""
    text: str
