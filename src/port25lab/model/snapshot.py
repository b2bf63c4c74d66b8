"""A snapshot: what is known of a real router, as data.

``scenario.snapshot`` reads it, ``scenario.mirror`` copies it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from port25lab.model.addresses import IPAddress, IPInterface, IPNetwork
from port25lab.model.policy import Bytes, Family


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


FamilyTold = Literal["rules", "header", "command", "neighbours", "name", "nothing"]
"""By what the family of rules was told: addresses and names of ICMP in them; the comment above them that names the
program; the command or section that they stand under; other rules of the file; the file's name; or it is assumed."""

NoteKind = Literal[
    "not-installed", "failed", "nft-tables", "not-read", "table-assumed", "family-assumed", "line-ends", "cut-off"
]


class SnapshotNote(_Frozen):
    """What the reader has to say of a file, beside what it read."""

    kind: NoteKind
    file: Path
    line: int
    subject: str
    """``not-installed``, ``failed``: the program, with its words; ``nft-tables``: family and name of a table of nft;
    ``not-read``: the line; ``table-assumed``: the table; ``family-assumed``: IPv4,
    since nothing tells it; ``line-ends``: those of Windows, which iptables-restore refuses, were taken away;
    ``cut-off``: the last section.
    """


class RulesPart(_Frozen):
    """Rules of one family, as ``iptables-restore`` reads them."""

    family: Family
    file: Path
    """The user's file, as the user wrote it; ``-`` is standard input."""
    content: Bytes
    """Line N of it is line N of the file: what is not part of these rules is replaced by empty lines.

    Of ``iptables -S`` output, ``*TABLE`` and ``COMMIT`` are added, the first where no line of the file is lost.
    """
    told_by: FamilyTold = "rules"


class SetPart(_Frozen):
    """One set of ``ipset save``."""

    name: str
    type: str
    """``hash:net``, ``hash:ip,port``, ``list:set``, …"""
    family: Family = "ip"
    create: str
    """The whole ``create`` command."""
    members: tuple[str, ...] = ()
    """What stands behind the set's name in each ``add`` command."""


class SnapshotInterface(_Frozen):
    """An interface of the router."""

    name: str
    kind: str | None = None
    """``vlan``, ``bridge``, ``ppp``, ``veth``, …; None: not known, or an ordinary one."""
    addresses: tuple[IPInterface, ...] = ()
    peer: IPAddress | None = None
    """Of a point-to-point link."""
    master: str | None = None
    """The bridge that it is a port of."""
    up: bool | None = None
    mtu: int | None = None


class SnapshotRoute(_Frozen):
    """A route of the main table."""

    to: IPNetwork
    """A default route has the length 0."""
    via: IPAddress | None = None
    interface: str | None = None
    blackhole: bool = False
    metric: int = 0


class Snapshot(_Frozen):
    """All that the user's files say of one router."""

    files: tuple[Path, ...]
    hostname: str | None = None
    rules: tuple[RulesPart, ...] = ()
    sets: tuple[SetPart, ...] = ()
    interfaces: tuple[SnapshotInterface, ...] = ()
    routes: tuple[SnapshotRoute, ...] = ()
    sysctls: dict[str, str] = {}
    """Such as ``net.ipv4.ip_forward``."""
    notes: tuple[SnapshotNote, ...] = ()
