"""A ruleset of one namespace made again in others: for rules that many nodes of a network have alike.

A thousand home routers with the same NAT would be a thousand runs of ``iptables-restore``, of 3 ms each. So the rules
of the first one are loaded by iptables, and read from the kernel as nftables has them; the others get the same
expressions by netlink, in one transaction, and what their kernel then has is compared with what the first one's has.
Rules under test are never loaded this way.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from port25lab.kernel.netlink import NETLINK_NETFILTER, NFNETLINK_HEADER, attribute, attributes, messages

_NFT = 10 << 8

_NEWTABLE, _GETTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE, _GETRULE, _NEWSET, _GETSET, _NEWOBJ, _GETOBJ = (
    _NFT | kind for kind in (0, 1, 3, 4, 6, 7, 9, 10, 18, 19)
)

_BATCH_BEGIN, _BATCH_END = 16, 17

_REQUEST, _ACK, _DUMP, _CREATE, _APPEND = 0x1, 0x4, 0x300, 0x400, 0x800

_ERROR, _DONE = 2, 3

_KEPT = {_NEWTABLE: (1, 2, 6), _NEWCHAIN: (1, 3, 4, 5, 7, 10, 12), _NEWRULE: (1, 2, 4, 7)}
"""The attributes that make a table, a chain or a rule what it is, by their kinds. Not kept are handles, the number of
users, and counters."""

_EXPRESSIONS, _NESTED = 4, 0x8000

_EXPRESSION_NAME = 1

_NESTED_KINDS = {(_NEWCHAIN, 4), (_NEWRULE, _EXPRESSIONS)}

_COUNTER = b"counter\0"


@dataclass(frozen=True)
class Recorded:
    """What a namespace has in nftables, as requests that make it."""

    requests: tuple[tuple[int, bytes], ...]
    """Type and body of each."""


def record() -> Recorded | None:
    """What this namespace has; None where it has things that cannot be made again in this way (sets, objects)."""
    with _netfilter() as kernel:
        for request, kind in ((_GETSET, _NEWSET), (_GETOBJ, _NEWOBJ)):
            if next(iter(list(_dump(kernel, request, kind))), None) is not None:
                return None
        requests = [
            (kind, _kept(kind, body))
            for request, kind in ((_GETTABLE, _NEWTABLE), (_GETCHAIN, _NEWCHAIN), (_GETRULE, _NEWRULE))
            for body in _dump(kernel, request, kind)
        ]
    return Recorded(tuple(requests))


def replay(recorded: Recorded) -> bool:
    """Make it in this namespace, which has nothing in nftables yet.

    Returns: Whether the kernel took it; otherwise it has changed nothing.
    Raises: OSError where the kernel took it, and lists something else.
    """
    begin = _message(_BATCH_BEGIN, 0, 1, struct.pack(">BBH", 0, 0, 10))
    end = _message(_BATCH_END, 0, len(recorded.requests) + 2, struct.pack(">BBH", 0, 0, 10))
    batch = b"".join(
        _message(kind, _CREATE | _ACK | (_APPEND if kind == _NEWRULE else 0), number, body)
        for number, (kind, body) in enumerate(recorded.requests, 2)
    )
    with _netfilter() as kernel:
        try:
            kernel.send(begin + batch + end)
        except OSError:  # such as EMSGSIZE
            return False
        if not all(code == 0 for code in _answers(kernel, len(recorded.requests))):
            return False
    if record() != recorded:
        raise OSError("the kernel has made other rules than those of the first node")
    return True


def _answers(kernel: socket.socket, count: int) -> Iterator[int]:
    """The error number of each request, until one is refused."""
    while count > 0:
        for kind, _, body in messages(kernel.recv(1 << 18)):
            if kind == _ERROR:
                count -= 1
                code = struct.unpack_from("=i", body)[0]
                yield code
                if code:
                    return


def _kept(kind: int, body: bytes) -> bytes:
    """The header of a message and those of its attributes that are kept."""
    header = struct.pack(">BBH", body[0], 0, 0)
    return header + b"".join(
        attribute(key | (_NESTED if (kind, key) in _NESTED_KINDS else 0), _without_counts(kind, key, value))
        for key, value in attributes(body, NFNETLINK_HEADER)
        if key in _KEPT[kind]
    )


def _without_counts(kind: int, key: int, value: bytes) -> bytes:
    """The value of an attribute; of a rule's expressions, counters at zero."""
    if (kind, key) != (_NEWRULE, _EXPRESSIONS):
        return value
    return b"".join(
        attribute(number | _NESTED, attribute(_EXPRESSION_NAME, _COUNTER) if _is_counter(element) else element)
        for number, element in attributes(value)
    )


def _is_counter(element: bytes) -> bool:
    return dict(attributes(element)).get(_EXPRESSION_NAME) == _COUNTER


def _netfilter() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    kernel.bind((0, 0))
    return kernel


def _message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | flags, number, 0) + body


def _dump(kernel: socket.socket, request: int, wanted: int) -> Iterator[bytes]:
    """The bodies of all messages of a kind that the kernel answers a request with. Raises OSError."""
    kernel.send(_message(request, _DUMP, 1, struct.pack(">BBH", 0, 0, 0)))
    while True:
        for kind, _, body in messages(kernel.recv(1 << 18)):
            if kind == _DONE:
                return
            if kind == _ERROR:
                code = -struct.unpack_from("=i", body)[0]
                raise OSError(code, os.strerror(code))
            if kind == wanted:
                yield body
