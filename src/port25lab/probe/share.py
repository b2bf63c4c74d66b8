"""A probe without what tells who made it: for reports to be posted. Addresses are replaced by those for documentation.

Equal addresses get equal replacements. The probed host, the hosts beside it and public routers behind the first hop
stay: without them a report says nothing.
"""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any

from port25lab.probe.client_view import ClientView
from port25lab.probe.document import Probed

_OF_THIS_SIDE = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "100.64.0.0/10",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)
"""RFC 1918, RFC 3927, RFC 6598, RFC 4193, RFC 4291: addresses that name a router or machine of this side."""

_ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*[0-9A-Fa-f:])(?![\w:])")

_HOST_NAME = "my-machine"


def masked(probed: Probed) -> Probed:
    """The same probe with this side's addresses and this machine's names replaced."""
    data = probed.model_dump(mode="json")
    texts = list(_texts(data))
    known = set(_addresses_in(texts))
    shown = _shown(probed.view)
    hidden = [one for one in dict.fromkeys(_addresses_in(texts)) if _is_hidden(one, probed.view, shown)]
    replacement = dict(zip(hidden, _replacements(hidden, known), strict=True))
    names = [name for name in dict.fromkeys((socket.getfqdn(), socket.gethostname())) if len(name) > 1]
    return Probed.model_validate(_replaced(data, replacement, [name for name in names if name != probed.view.target]))


def _shown(view: ClientView) -> set[str]:
    """Addresses that stay: those of the hosts, and of public routers behind the first hop."""
    sessions = (*view.sessions, *view.controls, *view.neutral, *view.deliveries)
    traces = (*view.traces, *view.neutral_traces, *view.datagram_traces, *view.cut_traces)
    routers = {router for trace in traces for hop, router in trace.routers.items() if hop > 1}
    names = {address for answer in view.name_answers for address in (answer.server, *answer.addresses)}
    greetings = {address for found in view.banner_names.values() for address in found}
    return {one.address for one in sessions} | routers | names | greetings


def _is_hidden(text: str, view: ClientView, shown: set[str]) -> bool:
    address = ip_address(text)
    if address.is_loopback or address.is_unspecified:
        return False
    if text in view.own.addresses:
        return True
    targets = {one.address for one in (*view.sessions, *view.controls)}
    if any(address in network for network in _OF_THIS_SIDE):
        return text not in targets
    return text not in shown


def _replacements(hidden: Iterable[str], known: set[str]) -> Iterator[str]:
    four = (f"{net}.{number}" for net in ("203.0.113", "198.51.100", "192.0.2") for number in range(1, 255))
    six = (f"2001:db8::{number:x}" for number in itertools.count(1))
    for text in hidden:
        pool = six if ":" in text else four
        yield next(one for one in pool if one not in known)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in (*value.keys(), *value.values()):
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _addresses_in(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for found in _ADDRESS.finditer(text):
            with suppress(ValueError):
                ip_address(found[0])
                yield found[0]


def _replaced(value: Any, addresses: dict[str, str], names: list[str]) -> Any:
    if isinstance(value, str):
        text = _ADDRESS.sub(lambda found: addresses.get(found[0], found[0]), value)
        for name in names:
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", _HOST_NAME, text)
        return text
    if isinstance(value, dict):
        return {_replaced(key, addresses, names): _replaced(one, addresses, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, addresses, names) for one in value]
    return value
