"""The inside of a lab: what the process that is PID 1 of a sandbox does.

It builds the network, loads the policies, starts the services, and then answers requests on its control socket, one
JSON object a line. That socket is its lifeline: at its end the process exits, and the kernel reaps the rest.

    {"id": 1, "call": "start", "plan": …, "policies": …, "early": [path, …]} → {"id": 1, "result": {…}}
    {"id": 2, "call": "attempt", "path": …}                   → {"id": 2, "result": evidence}
    {"id": 3, "call": "run", "node": …, "argv": […]}          → {"id": 3, "result": {…}}
    {"id": 4, "call": "enter", "node": …}                     → {"id": 4, "result": {"network": …, "etc": …}}
    {"id": 5, "call": "end_capture"}                          → {"id": 5, "result": {"packets": …, "lost": {…}, …}}
    anything that fails                                       → {"id": N, "error": {"kind": …, "text": …}}
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import dns.rdata
import dns.rdataclass
import dns.rdatatype

from port25lab.errors import InputError, LabError
from port25lab.lab.runtime import LabRuntime
from port25lab.mail.services.certificates import Authority
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.model.policy import Policy
from port25lab.network.host import FILES

Request = dict[str, Any]

PCAP_BUFFER = 1 << 18
"""Bytes written at once."""


def rehearse() -> None:
    """Use what imports more when it is first used: the fork server pays for that once, and not each lab."""
    Authority().client_context()
    for kind in ("A", "AAAA", "MX", "NS", "PTR", "SOA", "TXT"):
        dns.rdata.get_rdata_class(dns.rdataclass.IN, dns.rdatatype.from_text(kind))  # type: ignore[no-untyped-call]


def main(control: socket.socket, pcap: int | None = None) -> None:
    """Serve until the control socket closes. The process ends here, in one way or another.

    ``pcap``: descriptor of a file that gets all packets.
    """
    loop = asyncio.new_event_loop()
    server = LabServer(control, loop, pcap)
    threading.Thread(target=server.listen, daemon=True).start()
    loop.run_forever()


class LabServer:
    """Takes requests from the control socket and answers them as they get done."""

    def __init__(self, control: socket.socket, loop: asyncio.AbstractEventLoop, pcap: int | None) -> None:
        self._control, self._loop = control, loop
        self._pcap = None if pcap is None else os.fdopen(pcap, "wb", PCAP_BUFFER)
        self._lab: LabRuntime | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "start": self._start,
            "attempt": self._attempt,
            "run": self._run,
            "enter": self._enter,
            "end_capture": self._end_capture,
        }

    def listen(self) -> None:
        """Read requests in a thread of its own, so that the end of the line is noticed whatever the loop is doing."""
        try:
            with self._control.makefile("rb") as lines:
                for line in lines:
                    self._loop.call_soon_threadsafe(self._take, json.loads(line))
        finally:
            os._exit(0)

    def _take(self, request: Request) -> None:
        task = self._loop.create_task(self._answer(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Request) -> None:
        answer: dict[str, Any] = {"id": request["id"]}
        try:
            answer["result"] = await self._calls[request["call"]](request)
        except InputError as error:
            place = {"file": error.file and str(error.file), "line": error.line, "column": error.column}
            answer["error"] = {"kind": "input", "text": error.what, "allowed": error.allowed, **place}
        except LabError as error:
            answer["error"] = {"kind": "lab", "text": str(error)}
        except Exception:
            answer["error"] = {"kind": "lab", "text": f"port25lab failed inside the lab:\n{traceback.format_exc()}"}
        # The engine reads without pause; where it does not, waiting for it is right.
        self._control.sendall(json.dumps(answer).encode() + b"\n")

    async def _start(self, request: Request) -> dict[str, Any]:
        started = time.perf_counter()
        policies = {
            node: [Policy.model_validate(policy) for policy in stack] for node, stack in request["policies"].items()
        }
        early = [PathSpec.model_validate(path) for path in request.get("early", ())]
        self._lab = LabRuntime(Plan.model_validate(request["plan"]), policies, early, self._pcap)
        phases = await self._lab.start()
        return {"phases": phases, "seconds": time.perf_counter() - started}

    async def _attempt(self, request: Request) -> Any:
        evidence = await self._running().attempt(PathSpec.model_validate(request["path"]), request.get("label", ""))
        return evidence.model_dump(mode="json")

    async def _run(self, request: Request) -> dict[str, Any]:
        host = self._running().host(request["node"])
        done = await host.run(request["argv"], stdin=request.get("stdin", "").encode(), seconds=request["seconds"])
        return {
            "returncode": done.returncode,
            "stdout": done.stdout.decode(errors="replace"),
            "stderr": done.stderr.decode(errors="replace"),
            "timed_out": done.timed_out,
        }

    async def _enter(self, request: Request) -> dict[str, Any]:
        return {"network": str(self._running().host(request["node"]).named()), "etc": str(FILES / request["node"])}

    async def _end_capture(self, request: Request) -> dict[str, Any]:
        return self._running().end_capture()

    def _running(self) -> LabRuntime:
        if self._lab is None:
            raise LabError("the lab has not been started")
        return self._lab
