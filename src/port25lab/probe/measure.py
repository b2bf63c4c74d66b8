"""The measurement: all ports over both IP versions at once, with traceroutes and a control, within one time limit.

In: a ``Request``. Out: a ``ClientView``, which contains no judgement. No mail is sent but the request's message.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from port25lab.model.addresses import IpVersion
from port25lab.model.evidence import Stage
from port25lab.probe import names, own_machine, resolver, second_look
from port25lab.probe.client_view import Certificate, ClientView, NameAnswer, OwnMachine, Session, Trace
from port25lab.probe.dial import LITTLE_MSS, Dialled, dial, drop
from port25lab.probe.names import UnresolvedError
from port25lab.probe.talk import Manner, Message, UnverifiedError, talk
from port25lab.probe.traceroute import LEAST_SECONDS, trace, trace_cut, trace_datagrams
from port25lab.probe.ttl_capture import TtlCapture

PORTS = (25, 465, 587, 2525)

SUBMISSIONS = 465
"""TLS from the first byte (RFC 8314)."""

SECONDS = 10.0

NEUTRAL_PORT = 61025
"""A port that serves nothing, that no program sends from and no mail rule is about. Its answer, or the routers on the
way to it, show how far away the target itself is."""

CONNECT_SECONDS = 3.2
"""Time for a SYN and two retransmissions, after 1 s and 3 s (RFC 6298)."""

TRACE_SECONDS = 4.5
"""Time for all traceroutes, so that a probe without any answer ends within 6 s."""

USERS_WAIT_SECONDS = 2.0
"""How long an ordinary user's attempts wait for root's own session at most."""

HEAD_START = 0.15
"""How long traceroutes wait, so that their SYNs do not use up a limit on connections before the sessions."""

FAREWELL_SECONDS = 0.6
"""Reserved for QUIT and its reply at the end."""

AGAIN = 2
"""How often port 25 is dialled after its session."""

AGAIN_SECONDS = 1.3
"""How long each of these connections may take."""

SECOND_TRY_SECONDS = 0.5

CUT_SECONDS = 1.5

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
    """Measure. Raises UnresolvedError for a name that does not resolve, MachineError without a resolver for an MX."""
    return await _Prober(request).run()


async def without_address(request: Request, error: UnresolvedError) -> ClientView:
    """The view of a host whose name did not resolve. Where no answer came, the resolvers are asked for another name."""
    silent = error.silence and not await resolver.any_alive()
    return ClientView(host=request.host, target=request.host, unresolved=error.what, resolvers_silent=silent)


class _Prober:
    def __init__(self, request: Request) -> None:
        self._request = request
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        self._end = self._started + request.seconds
        self._ttl_capture = TtlCapture()
        self._trusting, self._verifying = _contexts()
        self._distances: dict[str, int] = {}
        self._own = own_machine.addresses()

    async def run(self) -> ClientView:
        request = self._request
        exchangers = await names.exchangers(request.host) if request.mx else ()
        target = exchangers[0] if exchangers else request.host
        lookups: list[Awaitable[dict[IpVersion, str]]] = [names.addresses(target, request.ip_versions)]
        if request.control:
            lookups.append(names.addresses(request.control, request.ip_versions))
        addresses, *others = await asyncio.gather(*lookups)
        control = others[0] if others else {}
        opinions = asyncio.ensure_future(resolver.answers(target, request.ip_versions))
        self._ttl_capture.start()
        try:
            view = await self._look(target, addresses, control)
            if request.trace:
                view = await second_look.look_again(view, lambda: self._left() - FAREWELL_SECONDS)
            named = await second_look.banner_names(view, self._left())
            answers: tuple[NameAnswer, ...] = await opinions
        finally:
            opinions.cancel()
            self._ttl_capture.close()
        seconds = round(asyncio.get_running_loop().time() - self._started, 3)
        more = {"mx": exchangers, "seconds": seconds, "name_answers": answers, "banner_names": named}
        return view.model_copy(update=more)

    async def _look(self, target: str, addresses: dict[IpVersion, str], control: dict[IpVersion, str]) -> ClientView:
        request, self._target = self._request, target
        raw = self._ttl_capture.open
        places = [(address, port) for address in addresses.values() for port in request.ports]
        sessions = {place: asyncio.ensure_future(self._session(target, *place)) for place in places}
        neutral = [] if NEUTRAL_PORT in request.ports else list(addresses.values())
        self._traced_until = min(self._end - FAREWELL_SECONDS, self._now() + TRACE_SECONDS)
        neutrals = self._neutral(target, neutral)
        (
            found,
            others,
            traces,
            delivered,
            again,
            (users, (quiet, quiet_traces, datagrams, platform)),
        ) = await asyncio.gather(
            asyncio.gather(*sessions.values()),
            asyncio.gather(*(self._session(request.control or "", one, 25) for one in control.values())),
            asyncio.gather(*self._traces(target, places, control)),
            asyncio.gather(*self._deliveries(target, addresses, sessions)),
            asyncio.gather(*(self._again(one) for (_, port), one in sessions.items() if port == 25)),
            asyncio.gather(asyncio.gather(*(self._as_user(one, *place) for place, one in sessions.items())), neutrals),
        )
        known = {(one.address, one.port): one for one in traces}
        cuts = await asyncio.gather(*(self._trace_cut(one, known) for one in found if _is_cut(one)))
        return ClientView(
            host=request.host,
            target=target,
            control=request.control,
            raw=raw,
            sessions=tuple(found),
            controls=tuple(others),
            deliveries=tuple(one for one in delivered if one is not None),
            traces=tuple(traces),
            cut_traces=tuple(one for one in cuts if one is not None),
            again=tuple(one for some in again for one in some),
            neutral_port=NEUTRAL_PORT if neutral else None,
            neutral=tuple(quiet),
            neutral_traces=tuple(quiet_traces),
            datagram_traces=tuple(datagrams),
            as_user=tuple(one for one in users if one is not None),
            own=OwnMachine(
                addresses=self._own,
                listeners=own_machine.listening(own_machine.sockets() or (), request.ports),
                hosts_file=own_machine.in_hosts_file(target),
                physical=own_machine.is_physical(),
                metadata=platform,
            ),
        )

    async def _neutral(
        self, target: str, addresses: Sequence[str]
    ) -> tuple[list[Session], list[Trace], list[Trace], bool]:
        """What shows how far away the target is, whatever is done to mail, and whether this is a cloud platform."""
        wanted = addresses if self._request.trace else ()
        return await asyncio.gather(
            asyncio.gather(*(self._connect_alone(target, one, NEUTRAL_PORT, CONNECT_SECONDS) for one in addresses)),
            asyncio.gather(*(self._trace(target, one, NEUTRAL_PORT) for one in wanted)),
            asyncio.gather(*(self._trace_datagrams(target, one) for one in wanted)),
            second_look.metadata_service(NEUTRAL_PORT),
        )

    async def _as_user(self, session: Awaitable[Session], address: str, port: int) -> Session | None:
        """As root: the same port as an ordinary user, after root's own session, or beside it where that waits long."""
        owner = second_look.ordinary_user()
        if owner is None:
            return None
        await asyncio.wait([asyncio.ensure_future(session)], timeout=USERS_WAIT_SECONDS)
        return await second_look.as_user(self._target, address, port, owner, self._own)

    # -- sessions ----------------------------------------------------------------------------------------------------

    async def _session(self, host: str, address: str, port: int) -> Session:
        manner = self._manner(host, port)
        session = await self._verified(host, address, port, manner)
        if session.stage is Stage.TLS and session.certificate is None and manner.name is not None:
            nameless = await self._once(host, address, port, replace(manner, name=None, tls=self._trusting))
            return session.model_copy(update={"nameless_tls": nameless.tls is not None})
        return session

    async def _verified(self, host: str, address: str, port: int, manner: Manner, mss: int | None = None) -> Session:
        """Where the certificate proves nothing, connect once more without verification, to read it."""
        try:
            return await self._once(host, address, port, manner, mss)
        except UnverifiedError as problem:
            # A password goes to its own server alone.
            secret = manner.message is not None and manner.message.user is not None
            manner = replace(manner, tls=self._trusting, message=None if secret else manner.message)
            again = await self._once(host, address, port, manner, mss)
            more: dict[str, object] = {"certificate": _with_problem(again.certificate, str(problem))}
            if secret and again.stage is Stage.DONE:
                more |= {"stage": Stage.AUTH, "reply": f"not logged in: the certificate is no proof ({problem})"}
            return again.model_copy(update=more)

    async def _once(self, host: str, address: str, port: int, manner: Manner, mss: int | None = None) -> Session:
        dialled = await self._dial(address, port, mss)
        peer = second_look.local_peer(dialled, self._own)
        session = await talk(dialled, host, address, port, manner)
        return session if peer is None else session.model_copy(update={"local_peer": peer})

    async def _dial(self, address: str, port: int, mss: int | None = None) -> Dialled:
        dialled = await dial(address, port, max(0.1, min(CONNECT_SECONDS, self._left())), mss=mss)
        dialled.ttl = dialled.ttl or self._ttl_capture.ttl(dialled.source_port)
        return dialled

    async def _again(self, session: Awaitable[Session]) -> list[Session]:
        """Dial a few times more where one connection was established: a limit on connections shows only then."""
        before = await session
        if not before.connected or self._left() < AGAIN_SECONDS + FAREWELL_SECONDS:
            return []
        await asyncio.sleep(HEAD_START)
        return list(await asyncio.gather(*(self._once_more(before) for _ in range(AGAIN))))

    async def _once_more(self, before: Session) -> Session:
        return await self._connect_alone(before.host, before.address, before.port, AGAIN_SECONDS)

    async def _connect_alone(self, host: str, address: str, port: int, seconds: float) -> Session:
        """Connect, and hang up at once."""
        dialled = await dial(address, port, max(0.1, min(seconds, self._left())))
        ttl = dialled.ttl or self._ttl_capture.ttl(dialled.source_port)
        if dialled.sock is not None:
            drop(dialled.sock)
        return Session(
            host=host,
            address=address,
            port=port,
            ip_version=dialled.ip_version,
            stage=Stage.BANNER if dialled.taken else Stage.CONNECT,
            errno=dialled.error,
            icmp=dialled.icmp,
            ttl=ttl,
            unsent=dialled.unsent,
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

    def _deliveries(
        self,
        target: str,
        addresses: dict[IpVersion, str],
        sessions: Mapping[tuple[str, int], Awaitable[Session]],
    ) -> Iterable[Awaitable[Session | None]]:
        message = self._request.message
        if message is None:
            return []
        before = {address: sessions.get((address, self._request.message_port)) for address in addresses.values()}
        return [self._delivery(target, address, message, session) for address, session in before.items()]

    async def _delivery(
        self, host: str, address: str, message: Message, before: Awaitable[Session] | None
    ) -> Session | None:
        """Send the message, where a session without a message came to its intended end."""
        if before is not None and (await before).stage is not Stage.DONE:
            return None
        port = self._request.message_port
        manner = self._manner(host, port, message)
        # Half of the time that is left; the other half is for a second try.
        manner = replace(manner, deadline=manner.deadline - max(0.0, self._left() - FAREWELL_SECONDS) / 2)
        found = await self._verified(host, address, port, manner)
        later = self._manner(host, port, message)
        if found.stage is Stage.DATA and found.errno == "ETIMEDOUT" and len(message.content) > LARGE:
            small = await self._verified(host, address, port, later, LITTLE_MSS)
            passed: Literal["passed", "failed"] = "passed" if small.stage is Stage.DONE else "failed"
            return found.model_copy(update={"small_segments": passed})
        if found.smtp_code in (450, 451) and found.stage in (Stage.RCPT, Stage.DATA):
            await asyncio.sleep(SECOND_TRY_SECONDS)
            second = await self._verified(host, address, port, later)
            return found.model_copy(update={"second_try": 250 if second.stage is Stage.DONE else second.smtp_code})
        return found

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
        found = await trace(host, address, port, self._traced_until, enough=lambda: self._distances.get(address))
        if found.spoken_at is not None:
            self._distances[address] = max(found.spoken_at, self._distances.get(address, 0))
        return found

    async def _trace_datagrams(self, host: str, address: str) -> Trace:
        await asyncio.sleep(HEAD_START)
        known = self._distances
        return await trace_datagrams(host, address, self._traced_until, enough=lambda: known.get(address))

    async def _trace_cut(self, session: Session, traces: Mapping[tuple[str, int], Trace]) -> Trace | None:
        """How far away the one is that cuts a session at its first words."""
        trace = traces.get((session.address, session.port))
        hops = trace.answered_at if trace else None
        seconds = min(CUT_SECONDS, self._left() - FAREWELL_SECONDS)
        if hops is None or seconds < LEAST_SECONDS:
            return None
        data = None if session.port == SUBMISSIONS else b"EHLO [127.0.0.1]\r\n"
        return await trace_cut(session.host, session.address, session.port, hops, seconds, data)

    def _left(self) -> float:
        return self._end - self._now()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _is_cut(session: Session) -> bool:
    """Whether the session was reset or closed at the client's first data: ClientHello or EHLO."""
    at_hello = session.stage is Stage.TLS and session.port == SUBMISSIONS and session.tls is None
    at_ehlo = session.stage is Stage.EHLO and session.port != SUBMISSIONS and session.tls is None
    return (at_hello or at_ehlo) and session.smtp_code is None and session.errno != "ETIMEDOUT"


def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A TLS context that accepts every certificate, and one that verifies. Both need TLS 1.2 at least (RFC 8996)."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    verifying = ssl.create_default_context()
    for context in (trusting, verifying):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    return trusting, verifying


def _with_problem(certificate: Certificate | None, problem: str) -> Certificate | None:
    return certificate and certificate.model_copy(update={"problem": problem})
