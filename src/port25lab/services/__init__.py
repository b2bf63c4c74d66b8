"""Services: what nodes offer to others. Mail servers that really relay, DNS, and the mailboxes in which mail ends.

kinds         the table of kinds, and what each may be told: data, checked before a lab starts
running       all services of a lab, started and watched
smtp          one node's mail server, and the ports on which it speaks
reception     greylisting and DNS blocklists
relay         the queue: MX lookup, delivery, retry, bounce
mailbox       where mail ends, and every message's journey to it
dns           names as clients ask for them
zones         the lab's DNS data, and the answers that follow from it
nameserver    DNS servers: the authoritative one and resolvers
certificates  the lab's certificate authority
middleboxes   what stands between a client and its server
listening     accepting connections, and noticing when that ends

``check`` needs none of the servers, so they are imported with ``Services`` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from port25lab.services.kinds import check

if TYPE_CHECKING:
    from port25lab.services.running import Services

__all__ = ["Services", "check"]


def __getattr__(name: str) -> Any:
    if name == "Services":
        from port25lab.services.running import Services

        return Services
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
