"""A lab's process: what PID 1 of a sandbox does.

It builds the network, loads the policies, starts the services, and then answers requests on its control socket
(``protocol``). That socket is its lifeline: at its end the process exits, and the kernel ends everything in the lab.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time

import dns.rdata
import dns.rdataclass
import dns.rdatatype

from port25lab.errors import LabError
from port25lab.kernel.patient_loop import PatientLoop
from port25lab.lab import protocol
from port25lab.lab.held_sessions import HeldSessions
from port25lab.lab.runtime import LabRuntime
from port25lab.mail.services.certificates import Authority
from port25lab.network.host import FILES

END_SECONDS = 1.0
"""How long the event loop may take to end the process; a busy one is ended by another thread then."""

PCAP_BUFFER = 1 << 18
"""Bytes written at once."""


def rehearse() -> None:
    """Use what imports more modules at its first use: the fork server pays for that once, instead of each lab."""
    Authority().client_context()
    for kind in ("A", "AAAA", "MX", "NS", "PTR", "SOA", "TXT"):
        dns.rdata.get_rdata_class(dns.rdataclass.IN, dns.rdatatype.from_text(kind))  # type: ignore[no-untyped-call]


def main(control: socket.socket, pcap: int | None = None) -> None:
    """Serve until the control socket closes. The process ends here, in one way or another.

    ``pcap``: descriptor of a file that gets all packets.
    """
    loop = PatientLoop()
    server = LabServer(control, loop, pcap)
    threading.Thread(target=server.listen, daemon=True).start()
    loop.run_forever()


class LabServer:
    """Takes requests from the control socket, and sends each answer when it is ready."""

    def __init__(self, control: socket.socket, loop: asyncio.AbstractEventLoop, pcap: int | None) -> None:
        self._control, self._loop = control, loop
        self._pcap = None if pcap is None else os.fdopen(pcap, "wb", PCAP_BUFFER)
        self._lab: LabRuntime | None = None
        self._held: HeldSessions | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self) -> None:
        """Read requests in a thread of its own, so that the end of the socket ends the lab even if the loop is busy."""
        try:
            with self._control.makefile("rb") as lines:
                for line in lines:
                    self._loop.call_soon_threadsafe(self._take, line)
        finally:
            self._loop.call_soon_threadsafe(self._end)
            time.sleep(END_SECONDS)
            os._exit(0)

    def _end(self) -> None:
        """End the process in the event loop's own thread, where nothing uses the lab meanwhile."""
        try:
            if self._lab is not None:
                self._lab.close()
        finally:
            os._exit(0)

    def _take(self, line: bytes) -> None:
        task = self._loop.create_task(self._answer(protocol.NumberedRequest.decoded(line)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, numbered: protocol.NumberedRequest) -> None:
        answer: protocol.Answer
        try:
            answer = await self._result(numbered.request)
        except Exception as error:
            answer = protocol.Failure.of(error)
        # The engine reads without a pause; where it does not, this waits, as it should.
        self._control.sendall(protocol.NumberedAnswer(number=numbered.number, answer=answer).as_line())

    async def _result(self, request: protocol.Request) -> protocol.Answer:
        match request:
            case protocol.Start():
                return await self._start(request)
            case protocol.Attempt():
                return protocol.Attempted(evidence=await self._running().attempt(request.path, request.label))
            case protocol.OpenSession():
                held = await self._held_sessions().open(request.path)
                return (
                    protocol.SessionWaits(session=held) if isinstance(held, int) else protocol.Attempted(evidence=held)
                )
            case protocol.GoOn():
                return protocol.Attempted(evidence=await self._held_sessions().go_on(request.session))
            case protocol.ReadCounters():
                return protocol.Counted(nodes=self._running().counters())
            case protocol.ReadLog():
                lines, written = self._running().journal().since(request.since, request.nodes)
                return protocol.Logged(lines=lines, written=written)
            case protocol.RunProgram():
                return await self._run(request)
            case protocol.Enter():
                network = self._running().host(request.node).named()
                return protocol.Entered(network=str(network), etc=str(FILES / request.node))
            case protocol.Reload():
                self._running().reload(request.node, request.policies, sessions_open=bool(self._held_sessions()))
                return protocol.Reloaded()
            case protocol.EndCapture():
                return protocol.CaptureEnded(capture=self._running().end_capture())

    async def _start(self, request: protocol.Start) -> protocol.Started:
        started = time.perf_counter()
        self._lab = LabRuntime(request.plan, request.policies, request.early, self._pcap)
        phases = await self._lab.start()
        return protocol.Started(phases=phases, seconds=time.perf_counter() - started)

    async def _run(self, request: protocol.RunProgram) -> protocol.ProgramDone:
        host = self._running().host(request.node)
        done = await host.run(request.argv, stdin=request.stdin.encode(), seconds=request.seconds)
        return protocol.ProgramDone(
            returncode=done.returncode,
            stdout=done.stdout.decode(errors="replace"),
            stderr=done.stderr.decode(errors="replace"),
            timed_out=done.timed_out,
        )

    def _held_sessions(self) -> HeldSessions:
        self._held = self._held or HeldSessions(self._running())
        return self._held

    def _running(self) -> LabRuntime:
        if self._lab is None:
            raise LabError("the lab has not been started")
        return self._lab
