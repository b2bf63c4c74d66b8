"""Whether an attempt proves something although its lab got too little processor time.

The lab's own event loop does not count such time (``kernel.patient_loop``). Three clocks go on: the timers of the
kernel, those of client programs, and limits in seconds of rules. Where one of them may have decided, an attempt proves
nothing, and ``run`` makes it again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from port25lab.kernel.patient_loop import starved_seconds
from port25lab.model.evidence import Evidence, Stage

TOLERATED_SECONDS = 0.5
"""Starvation that no clock notices: the shortest limit of a kernel timer or program is 1 s."""

TOLERATED_SHARE = 0.25
"""The same for longer attempts: in the rest of its time a lab answers whatever it was asked."""

REFILL_SHARE = 0.25
"""The part of the time in which a limit lets one more packet pass that attempts may be late."""


@dataclass(frozen=True)
class Begun:
    """When an attempt began."""

    starved: float
    """Seconds of starvation before."""
    clock: float = field(default_factory=time.monotonic)


class Starvation:
    """Watches the starvation of a lab."""

    def __init__(self, refill_seconds: float | None) -> None:
        """``refill_seconds``: the shortest time in which a limit of the lab's rules lets one more packet pass."""
        self._refill = refill_seconds
        self._first_counted: float | None = None
        """Starvation before the first attempt that a limit may count."""

    def limits(self, refill_seconds: float | None) -> None:
        """The rules were replaced; the parameter is that of the constructor. Their limits have counted no attempt."""
        self._refill, self._first_counted = refill_seconds, None

    def begin(self) -> Begun:
        """An attempt begins. Returns what ``doubt`` needs to know."""
        now = starved_seconds()
        if self._first_counted is None:
            self._first_counted = now
        return Begun(now)

    def doubt(self, evidence: Evidence, begun: Begun, repeated: int) -> str | None:
        """Why an attempt that is over proves nothing, in words; None where it proves something.

        ``begun``: what ``begin`` returned. ``repeated``: which attempt of its path it was, from 1 on.
        """
        now = starved_seconds()
        late = now - begun.starved
        tolerated = max(TOLERATED_SECONDS, TOLERATED_SHARE * (time.monotonic() - begun.clock))
        if late > tolerated and clock_may_have_decided(evidence):
            return f"a clock may have ended the attempt: its lab got no processor time for {late:.1f} s of it"
        if self._refill is None or repeated == 1 or self._first_counted is None:
            return None
        late = now - self._first_counted
        if late > max(TOLERATED_SECONDS, REFILL_SHARE * self._refill):
            return (
                f"a rule lets one more connection pass every {self._refill:g} s, and the attempts were not made that "
                f"fast: their lab got no processor time for {late:.1f} s"
            )
        return None


def clock_may_have_decided(evidence: Evidence) -> bool:
    """Whether an attempt ended without a rule, a reply or a packet that says why."""
    observed = evidence.observation
    if evidence.delivered_to or evidence.decisions:
        return False
    if evidence.arrival is not None:
        return not evidence.arrival.reached
    if observed.stage is Stage.DONE:  # a relay took it: a rule or a reply may say why it could not deliver
        return not any(hop.decisions or hop.observation.smtp_code is not None for hop in evidence.hops)
    return observed.smtp_code is None and observed.errno in (None, "ETIMEDOUT")
