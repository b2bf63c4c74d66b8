"""A user's function that makes packets, run as a program in the sending node.

In: the file's text and a ``PacketSpec``. Out: bytes of packets. The function gets the limits of all programs in nodes,
and a time limit; what it prints goes to stderr. Where it fails, the error names its file and line.
"""

from __future__ import annotations

import dataclasses
import json
import linecache
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from port25lab.errors import LabError
from port25lab.kernel import own_python
from port25lab.kernel.headers import fixed_header, ip_header, tcp_header
from port25lab.model.packet_spec import PacketSpec
from port25lab.model.path import PacketFunction

if TYPE_CHECKING:
    from port25lab.network.host import LabHost

PROGRAM = f"from {__name__} import answer\nanswer()\n"

SECONDS = 20.0
"""How long the function may take, together with the import of scapy."""

MOST_PACKETS = 1000

_TCP = 6


async def made_by(function: PacketFunction, spec: PacketSpec, sender: LabHost) -> list[bytes]:
    """Call the function in the node. Raises LabError, with FILE:LINE, where it makes no packets."""
    question = {"function": function.model_dump(), "spec": dataclasses.asdict(spec)}
    done = await sender.run(own_python.command(PROGRAM), stdin=json.dumps(question).encode(), seconds=SECONDS)
    if done.timed_out:
        raise LabError(f"{function.file}: {function.name} did not return within {SECONDS:g} s")
    lines = done.stdout.splitlines()
    answer = json.loads(lines[-1]) if lines else {"error": done.stderr.decode(errors="replace").strip() or "no answer"}
    if "error" in answer:
        raise LabError(answer["error"])
    return [bytes.fromhex(packet) for packet in answer["packets"]]


def answer() -> None:
    """The program's side: read the question from stdin, call the function, print its packets or its error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the function prints must not be taken for the answer
    question = json.load(sys.stdin)
    function, spec = PacketFunction(**question["function"]), PacketSpec(**question["spec"])
    try:
        packets = [packet.hex() for packet in _packets(function, spec)]
    except BaseException as error:  # also SystemExit: the function is the user's
        print(json.dumps({"error": _words(error, function)}), file=out, flush=True)
    else:
        print(json.dumps({"packets": packets}), file=out, flush=True)


class _UnfitError(Exception):
    """What the function returned is nothing to send."""


def _packets(function: PacketFunction, spec: PacketSpec) -> list[bytes]:
    # The file itself may be where the lab cannot see it; tracebacks want its lines.
    linecache.cache[function.file] = (len(function.text), None, function.text.splitlines(True), function.file)
    sys.path += [folder for folder in function.folders if folder not in sys.path]
    names: dict[str, Any] = {"__name__": "packets", "__file__": function.file}
    exec(compile(function.text, function.file, "exec"), names)  # noqa: S102
    found = [_bytes(packet, spec) for packet in _listed(names[function.name](spec))]
    if not found:
        raise _UnfitError(f"{function.name} returned no packet")
    return found


def _listed(returned: Any) -> Iterator[Any]:
    from scapy.packet import Packet

    one = isinstance(returned, Packet | bytes) or not isinstance(returned, Iterable)
    for number, packet in enumerate([returned] if one else returned):
        if number == MOST_PACKETS:
            raise _UnfitError(f"more than {MOST_PACKETS} packets")
        yield packet


def _bytes(packet: Any, spec: PacketSpec) -> bytes:
    """The packet as bytes, with the numbers by which it is known wherever the function left them unset."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6
    from scapy.packet import Packet

    if isinstance(packet, Packet):
        for layer, name, value in ((IP, "id", spec.number), (IPv6, "fl", spec.number), (TCP, "seq", spec.sequence)):
            if layer in packet and name not in packet[layer].fields:
                setattr(packet[layer], name, value)
        packet = bytes(packet)
    if not isinstance(packet, bytes):
        raise _UnfitError(f"{type(packet).__name__} is no packet: scapy's packets and bytes are")
    fixed, ip = fixed_header(packet), ip_header(packet)
    if fixed is None or ip is None:
        raise _UnfitError("a packet begins with an IPv4 or IPv6 header, without a link layer")
    if ip.protocol == _TCP and not (ip.offset or ip.more):
        tcp = tcp_header(packet[ip.begin : ip.end])
        if tcp is None or tcp.sequence != spec.sequence:
            raise _UnfitError("a TCP segment that cannot be followed: its seq is not p.sequence")
    elif fixed.number != spec.number:
        field = "id" if fixed.ip_version == 4 else "fl"
        raise _UnfitError(f"a packet that cannot be followed: its {field} is not p.number")
    return packet


def _words(error: BaseException, function: PacketFunction) -> str:
    """The error with the last line of the user's file that it came through."""
    if isinstance(error, _UnfitError):
        return f"{function.file}: {error}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == function.file]
    place = f"{function.file}:{lines[-1]}" if lines else function.file
    return f"{place}: {type(error).__name__}: {error}".rstrip(": ")
