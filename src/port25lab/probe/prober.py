"""The prober: all ports over both IP versions at once, with traceroutes and controls, within one bounded time.

In: a ``Request``. Out: a ``ClientView``, which judges nothing. No mail is sent but the one that the request carries.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from port25lab.evidence import Stage
from port25lab.probe import names
from port25lab.probe.dial import LITTLE_MSS, Dialled, dial, drop
from port25lab.probe.talk import Manner, Message, UnverifiedError, talk
from port25lab.probe.traceroute import trace, trace_hello
from port25lab.probe.view import Certificate, ClientView, IpVersion, Session, Trace
from port25lab.probe.wire import Wire

PORTS = (25, 465, 587, 2525)
SUBMISSIONS = 465
"""TLS from the first byte (RFC 8314)."""

SECONDS = 10.0
CONNECT_SECONDS = 3.2
"""Time for a SYN and two retransmissions, after 1 s and 3 s (RFC 6298)."""

HEAD_START = 0.15
"""How long traceroutes wait, so that a limit on connections meets the sessions last."""

FAREWELL_SECONDS = 0.6
"""Kept back for goodbyes at the end."""

AGAIN = 2
SECOND_TRY_SECONDS = 0.5
LARGE = 1400
"""A message of more bytes fills packets."""


@dataclass(frozen=True)
class Request:
    """What to probe, and how."""

    host: str
    ports: Sequence[int] = PORTS
    ip_versions: Sequence[IpVersion] = (4, 6)
    seconds: float = SECONDS
    mx: bool = False
    """``host`` is a mail domain."""
    control: str | None = None
    message: Message | None = None
    message_port: int = 25
    trace: bool = True


async def probe(request: Request) -> ClientView:
    """Probe, and tell what was seen. Raises InputError for names that do not resolve."""
    return await _Prober(request).run()


class _Prober:
    def __init__(self, request: Request) -> None:
        self._request = request
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        self._end = self._started + request.seconds
        self._wire = Wire()
        self._trusting, self._verifying = _contexts()
        self._distances: dict[str, int] = {}

    async def run(self) -> ClientView:
        request = self._request
        exchangers = await names.exchangers(request.host) if request.mx else ()
        target = exchangers[0] if exchangers else request.host
        wanted: list[Awaitable[dict[IpVersion, str]]] = [names.addresses(target, request.ip_versions)]
        if request.control:
            wanted.append(names.addresses(request.control, request.ip_versions))
        addresses, *others = await asyncio.gather(*wanted)
        control = others[0] if others else {}
        self._wire.start()
        try:
            view = await self._look(target, addresses, control)
        finally:
            self._wire.close()
        seconds = round(asyncio.get_running_loop().time() - self._started, 3)
        return view.model_copy(update={"mx": exchangers, "seconds": seconds})

    async def _look(self, target: str, addresses: dict[IpVersion, str], control: dict[IpVersion, str]) -> ClientView:
        request = self._request
        raw = self._wire.open
        places = [(address, port) for address in addresses.values() for port in request.ports]
        sessions = asyncio.gather(*(self._session(target, address, port) for address, port in places))
        controls = asyncio.gather(*(self._session(request.control or "", one, 25) for one in control.values()))
        tracing = asyncio.gather(*self._traces(target, places, control))
        seen, others, traces = await asyncio.gather(sessions, controls, tracing)
        again, hellos, delivered = await asyncio.gather(
            asyncio.gather(
                *(self._again(one) for one in seen if one.port == 25 and one.connected for _ in range(AGAIN))
            ),
            asyncio.gather(*(self._hello_trace(one, traces) for one in seen if one.nameless_tls)),
            asyncio.gather(*self._deliveries(target, addresses)),
        )
        return ClientView(
            host=request.host,
            target=target,
            control=request.control,
            raw=raw,
            sessions=tuple(seen),
            controls=tuple(others),
            deliveries=tuple(delivered),
            traces=tuple(traces),
            hello_traces=tuple(hellos),
            again=tuple(again),
        )

    # -- sessions ----------------------------------------------------------------------------------------------------

    async def _session(self, host: str, address: str, port: int) -> Session:
        manner = self._manner(host, port)
        session = await self._verified(host, address, port, manner)
        if session.stage is Stage.TLS and session.certificate is None and manner.name is not None:
            nameless = await self._once(host, address, port, replace(manner, name=None, tls=self._trusting))
            return session.model_copy(update={"nameless_tls": nameless.tls is not None})
        return session

    async def _verified(self, host: str, address: str, port: int, manner: Manner, mss: int | None = None) -> Session:
        """Where the certificate is no proof, once more without asking for one: it is still worth a look."""
        try:
            return await self._once(host, address, port, manner, mss)
        except UnverifiedError as problem:
            if manner.message is not None and manner.message.user is not None:
                manner = replace(manner, message=None)  # a password goes to nobody but its server
            again = await self._once(host, address, port, replace(manner, tls=self._trusting), mss)
            unproven = _with_problem(again.certificate, str(problem))
            return again.model_copy(update={"certificate": unproven})

    async def _once(self, host: str, address: str, port: int, manner: Manner, mss: int | None = None) -> Session:
        dialled = await self._dial(address, port, mss)
        return await talk(dialled, host, address, port, manner)

    async def _dial(self, address: str, port: int, mss: int | None = None) -> Dialled:
        dialled = await dial(address, port, max(0.1, min(CONNECT_SECONDS, self._left())), mss=mss)
        dialled.ttl = dialled.ttl or self._wire.ttl(dialled.source_port)
        return dialled

    async def _again(self, before: Session) -> Session:
        dialled = await dial(before.address, before.port, max(0.1, min(1.3, self._left())))
        if dialled.sock is not None:
            drop(dialled.sock)
        return Session(
            host=before.host,
            address=before.address,
            port=before.port,
            ip_version=before.ip_version,
            stage=Stage.BANNER if dialled.sock is not None else Stage.CONNECT,
            errno=dialled.error,
            icmp=dialled.icmp,
            seconds=dialled.seconds,
        )

    def _manner(self, host: str, port: int, message: Message | None = None) -> Manner:
        return Manner(
            deadline=self._end - FAREWELL_SECONDS,
            tls=self._verifying,
            name=host,
            implicit=port == SUBMISSIONS,
            message=message,
        )

    # -- a message, where the user asked for one ----------------------------------------------------------------------

    def _deliveries(self, target: str, addresses: dict[IpVersion, str]) -> Iterable[Awaitable[Session]]:
        message = self._request.message
        if message is None:
            return []
        return [self._delivery(target, address, message) for address in addresses.values()]

    async def _delivery(self, host: str, address: str, message: Message) -> Session:
        port = self._request.message_port
        manner = self._manner(host, port, message)
        # Half of the time that is left: the other half is for the same once more.
        manner = replace(manner, deadline=manner.deadline - max(0.0, self._left() - FAREWELL_SECONDS) / 2)
        seen = await self._verified(host, address, port, manner)
        later = self._manner(host, port, message)
        if seen.stage is Stage.DATA and seen.errno == "ETIMEDOUT" and len(message.content) > LARGE:
            small = await self._verified(host, address, port, later, LITTLE_MSS)
            passed: Literal["passed", "failed"] = "passed" if small.stage is Stage.DONE else "failed"
            return seen.model_copy(update={"small_segments": passed})
        if seen.smtp_code in (450, 451) and seen.stage in (Stage.RCPT, Stage.DATA):
            await asyncio.sleep(SECOND_TRY_SECONDS)
            second = await self._verified(host, address, port, later)
            return seen.model_copy(update={"second_try": 250 if second.stage is Stage.DONE else second.smtp_code})
        return seen

    # -- traceroutes ---------------------------------------------------------------------------------------------------

    def _traces(
        self, target: str, places: Iterable[tuple[str, int]], control: dict[IpVersion, str]
    ) -> Iterable[Awaitable[Trace]]:
        if not self._request.trace:
            return []
        tasks = [self._trace(target, address, port) for address, port in places]
        return tasks + [self._trace(self._request.control or "", address, 25) for address in control.values()]

    async def _trace(self, host: str, address: str, port: int) -> Trace:
        await asyncio.sleep(HEAD_START)
        found = await trace(
            host, address, port, self._end - FAREWELL_SECONDS, enough=lambda: self._distances.get(address)
        )
        if found.spoken_at is not None:
            self._distances[address] = max(found.spoken_at, self._distances.get(address, 0))
        return found

    async def _hello_trace(self, session: Session, traces: Iterable[Trace]) -> Trace:
        reached = [one.answered_at for one in traces if (one.address, one.port) == (session.address, session.port)]
        hops = next((hop for hop in reached if hop), 8)
        return await trace_hello(session.host, session.address, session.port, hops, max(0.1, min(1.5, self._left())))

    def _left(self) -> float:
        return self._end - asyncio.get_running_loop().time()


def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """One that takes every certificate, to read it, and one that wants proof. TLS 1.2 is the least (RFC 8996)."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    verifying = ssl.create_default_context()
    for context in (trusting, verifying):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    return trusting, verifying


def _with_problem(certificate: Certificate | None, problem: str) -> Certificate | None:
    return certificate and certificate.model_copy(update={"problem": problem})
