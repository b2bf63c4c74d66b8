"""The verdict: one attempt, judged; and a report of many."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import Arrival, Blame, Decision, Hop, IcmpError, Observation, PacketSeen
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome, Should

SCHEMA_VERSION = 1


class Control(BaseModel):
    """The same path in the same topology without the policy: what makes `blocked` a statement about the policy."""

    model_config = ConfigDict(extra="forbid")

    outcome: Outcome
    through: bool
    """True where the client reached the destination."""


class Verdict(BaseModel):
    """One attempt, judged. The field names are a contract with whoever reads the JSON."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    scenario: str
    variant: str | None = None
    path: str
    """The path's id: ``port25lab run -k ID`` repeats it."""
    name: str | None = None
    ref: str | None = None
    source: str = Field(alias="from")
    to: str
    port: int
    ip_version: IpVersion | None
    security: str
    auth: str | None
    client: str
    recipient: str | None = None
    sender: str | None = None
    """Envelope sender; None: the node's own."""
    size: int = 0
    """Bytes to which the message was padded."""
    packet: str | None = None
    """The kind of a raw-packet probe, which has no client."""
    spoof: str | None = None
    """The node whose address a probe had as its source."""
    policies: dict[str, list[str]]
    outcome: Outcome
    mechanism: Mechanism = Mechanism.UNKNOWN
    """What is at work on the path."""
    expected: Outcome | None
    expected_by: str | None = None
    expected_how: Mechanism | None = None
    expected_from: int | None = None
    """Of a repeated path, the attempt at which the expectation turns."""
    attempt: int = 1
    repeat: int = 1
    """How often the path was tried in all; each attempt has a verdict of its own."""
    ok: bool
    blame: Blame | None
    observation: Observation
    decisions: list[Decision] = []
    diverted: list[Decision] = []
    icmp: list[IcmpError] = []
    answered_by: str | None = None
    """The node whose service took the connection."""
    hops: list[Hop] = []
    arrival: Arrival | None = None
    """Where a probe arrived, and what came back."""
    should: Should | None = None
    """What a correct policy does with the path."""
    matrix: bool = False
    """Its scenario asks for a table of all paths by all variants."""
    control: Control | None = None
    disagreement: str | None = None
    """Where the client and the kernel do not say the same: both, in words."""
    reason: str | None = None
    """Why the verdict is not ok, or why the tool failed."""
    retried: str | None = None
    """Why the path was tried once more, alone in a new lab: the verdict is about that attempt."""
    packets: list[PacketSeen] = []
    divergence: str | None = None
    """Where the two sides of a node that passes sessions on first differ, in words."""
    pcap: str | None = None
    """Name of the lab's capture file, in the folder of `--pcap`."""


class Report(BaseModel):
    """A whole run, as written by ``--json``."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    tool: dict[str, str]
    environment: dict[str, Any]
    verdicts: list[Verdict]
