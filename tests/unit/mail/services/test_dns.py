import asyncio
import errno
import random
import socket
import struct
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import pytest

from loopback_services import in_loop, node, plan, running
from port25lab.mail import resolver as names
from port25lab.mail.resolver import DnsFailure, Mx, addresses, mx
from port25lab.mail.services.dns_server import Replies, reply
from port25lab.mail.services.zones import Zones
from port25lab.model.plan import Plan


def world() -> Plan:
    return plan(
        node("mx", 25, {"kind": "mx", "domains": ["example.net"]}, names=("mx.example.net", "www.example.net")),
        node("mx-2", 26, {"kind": "mx", "domains": ["example.net"]}, names=("mx2.example.net",)),
        node("home", 27, {"kind": "mx", "domains": ["home.example"]}, public=("198.51.100.1",)),
        node("old", 28, dual=False, aliases=("mail.customer.example",)),
        node("pc", 10),
        node("resolver", 54, {"kind": "resolver", "upstream": "192.0.2.53"}),
        node("customer", 11, resolvers=("192.0.2.54",)),
    )


def ask(
    name: str, kind: str, zones: Zones | None = None, *, over_udp: bool = True, **how: object
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **how)
    return dns.message.from_wire(answered(query.to_wire(), zones, over_udp=over_udp) or b"")


def answered(wire: bytes, zones: Zones | None = None, *, over_udp: bool = True) -> bytes | None:
    known = zones or Zones(world())

    async def answer(query: dns.message.Message) -> dns.message.Message:
        return known.answer(query)

    return asyncio.run(reply(wire, answer, over_udp=over_udp))


def values(message: dns.message.Message) -> list[str]:
    return sorted(str(record) for rrset in message.answer for record in rrset)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("mx.example.net", "A", ["192.0.2.25"]),
        ("MX.Example.NET", "AAAA", ["2001:db8::25"]),
        ("www.example.net", "A", ["192.0.2.25"]),
        ("example.net", "MX", ["10 mx.example.net.", "20 mx2.example.net."]),
        ("home.example.test", "A", ["198.51.100.1"]),
        ("mail.customer.example", "A", ["192.0.2.28"]),
        ("25.2.0.192.in-addr.arpa", "PTR", ["mx.example.net."]),
        ("28.2.0.192.in-addr.arpa", "PTR", ["old.example.test."]),
        ("example.net", "NS", ["dns.example.test."]),
    ],
)
def test_the_authority_answers_from_the_plan(name: str, kind: str, expected: list[str]) -> None:
    answer = ask(name, kind)
    assert (answer.rcode(), values(answer)) == (dns.rcode.NOERROR, expected)
    assert answer.flags & dns.flags.AA


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "zone"),
    [
        ("nobody.example.net", "A", "NXDOMAIN", "example.net."),
        ("nobody.invalid", "A", "NXDOMAIN", "."),
        ("mx.example.net", "TXT", "NOERROR", "example.net."),
        ("old.example.test", "AAAA", "NOERROR", "example.test."),
        ("net", "A", "NOERROR", "."),
        ("9.9.9.9.in-addr.arpa", "PTR", "NXDOMAIN", "in-addr.arpa."),
    ],
)
def test_what_is_not_there_is_told_from_what_does_not_exist(name: str, kind: str, rcode: str, zone: str) -> None:
    answer = ask(name, kind)
    assert (dns.rcode.to_text(answer.rcode()), answer.answer) == (rcode, [])
    assert [(str(rrset.name), rrset.rdtype) for rrset in answer.authority] == [(zone, dns.rdatatype.SOA)]


def test_a_large_answer_is_truncated_over_udp_and_whole_over_tcp() -> None:
    zones = Zones(world())
    for number in range(60):
        zones.add("large.example.net", "A", f"192.0.2.{number}")
    cut = ask("large.example.net", "A", zones)
    assert cut.flags & dns.flags.TC and not cut.answer
    assert len(values(ask("large.example.net", "A", zones, use_edns=0, payload=1232))) == 60
    assert len(values(ask("large.example.net", "A", zones, over_udp=False))) == 60


def test_queries_that_make_no_sense_are_turned_away() -> None:
    query = dns.message.make_query("mx.example.net", "A").to_wire()
    garbage = answered(query[:12] + b"\xff" * 9)
    assert garbage is not None and dns.message.from_wire(garbage).rcode() == dns.rcode.FORMERR
    assert answered(b"short") is None
    assert answered(struct.pack(">HHHHHH", 1, 0x8000, 0, 0, 0, 0)) is None
    assert ask("mx.example.net", "AXFR").rcode() == dns.rcode.REFUSED
    assert ask("mx.example.net", "A", use_edns=1).rcode() == dns.rcode.BADVERS
    notify = bytearray(query)
    notify[2] |= 4 << 3
    assert dns.message.from_wire(answered(bytes(notify)) or b"").rcode() == dns.rcode.NOTIMP


@pytest.mark.parametrize(("lasts", "answers"), [(60.0, 1), (0.0, 2), (-1.0, 2)])
def test_an_answer_is_made_once_as_long_as_it_lasts(lasts: float, answers: int) -> None:
    zones, asked = Zones(world()), []

    async def answer(query: dns.message.Message) -> dns.message.Message:
        asked.append(query)
        return zones.answer(query)

    async def twice() -> list[bytes | None]:
        now = asyncio.get_running_loop().time()
        replies = Replies(answer, lambda _: now + lasts if lasts else 0.0)
        queries = [dns.message.make_query("mx.example.net", "A", id=number) for number in (7, 0xABCD)]
        return [await replies.to(query.to_wire(), over_udp=True) for query in queries]

    first, second = (dns.message.from_wire(wire or b"") for wire in asyncio.run(twice()))
    assert (first.id, second.id, len(asked)) == (7, 0xABCD, answers)
    assert values(first) == values(second) == ["192.0.2.25"]


def test_a_question_that_comes_again_has_the_same_bytes_and_another_id() -> None:
    name = dns.name.from_text("mx.example.net")
    first, second = (names.question(name, dns.rdatatype.A) for _ in range(2))
    assert {names._wire(one)[2:] for one in (first, second)} == {first.to_wire()[2:]}
    assert names._wire(second)[:2] == second.id.to_bytes(2, "big")
    other = dns.message.make_query("mx.example.net", "A", use_edns=0, payload=512)
    assert names._wire(other) == other.to_wire()


def test_no_query_crashes_the_server() -> None:
    random.seed(25)
    query = dns.message.make_query("mx.example.net", "A", use_edns=0).to_wire()
    zones = Zones(world())

    async def answer(query: dns.message.Message) -> dns.message.Message:
        return zones.answer(query)

    async def bombard() -> None:
        for _ in range(500):
            wire = bytearray(query)
            for _ in range(3):
                wire[random.randrange(len(wire))] = random.randrange(256)
            await reply(
                bytes(wire[: random.randrange(len(wire) + 1)] if random.random() < 0.3 else wire), answer, over_udp=True
            )

    asyncio.run(bombard())


@pytest.mark.parametrize("host", ["pc", "customer"])
@in_loop
async def test_a_client_resolves_by_itself_and_through_a_resolver(host: str) -> None:
    async with running(world()) as lab:
        pc = lab.hosts[host]
        assert await mx(pc, "example.net") == [Mx(10, "mx.example.net"), Mx(20, "mx2.example.net")]
        assert await addresses(pc, "mx.example.net", None) == ["2001:db8::25", "192.0.2.25"]
        assert await addresses(pc, "mx.example.net", 4) == ["192.0.2.25"]
        for address, name in (("192.0.2.25", "mx.example.net"), ("2001:db8::26", "mx2.example.net")):
            query = names.question(ip_address(address).reverse_pointer, dns.rdatatype.PTR)
            answer = await names.ask(pc, pc.resolvers[0], query)
            assert [str(record.target) for record in answer.answer[0]] == [f"{name}."]


@in_loop
async def test_a_host_without_ipv6_asks_for_no_ipv6_address() -> None:
    async with running(world()) as lab:
        assert await addresses(lab.hosts["old"], "mx.example.net", None) == ["192.0.2.25"]


@in_loop
async def test_an_address_needs_no_resolving() -> None:
    async with running(world()) as lab:
        assert await addresses(lab.hosts["pc"], "192.0.2.25", None) == ["192.0.2.25"]
        with pytest.raises(DnsFailure, match=r"192.0.2.25 is no IPv6 address"):
            await addresses(lab.hosts["pc"], "192.0.2.25", 6)


@in_loop
async def test_a_domain_without_mx_is_its_own_exchanger() -> None:
    async with running(world()) as lab:
        assert await mx(lab.hosts["pc"], "old.example.test") == [Mx(0, "old.example.test")]


@in_loop
async def test_failures_say_why() -> None:
    async with running(world()) as lab:
        pc = lab.hosts["pc"]
        with pytest.raises(DnsFailure, match=r"nobody.example does not exist \(NXDOMAIN from 192.0.2.53\)"):
            await mx(pc, "nobody.example")
        with pytest.raises(DnsFailure, match=r"old.example.test has no IPv6 address"):
            await addresses(pc, "old.example.test", 6)
        with pytest.raises(DnsFailure, match=r"'a..b' is no domain name"):
            await mx(pc, "a..b")
        lab.net.broken |= {("192.0.2.53", 53): errno.EHOSTUNREACH, ("2001:db8::53", 53): errno.ENETUNREACH}
        with pytest.raises(DnsFailure, match=r"2001:db8::53 cannot be asked: Network is unreachable"):
            await mx(pc, "example.net")


@in_loop
async def test_a_null_mx_says_that_the_domain_takes_no_mail() -> None:
    async with running(world()) as lab:
        lab.services._zones.add("silent.example", "MX", "0 .")
        with pytest.raises(DnsFailure, match=r"silent.example takes no mail \(null MX, RFC 7505\)") as failure:
            await mx(lab.hosts["pc"], "silent.example")
        assert (failure.value.smtp_code, failure.value.enhanced_code) == (556, "5.1.10")


@in_loop
async def test_a_truncated_answer_is_asked_for_again_over_tcp() -> None:
    async with running(world()) as lab:
        for number in range(200):
            lab.services._zones.add("large.example.net", "A", f"198.51.100.{number}")
        assert len(await addresses(lab.hosts["pc"], "large.example.net", 4)) == 200
        assert len(await addresses(lab.hosts["customer"], "large.example.net", 4)) == 200


@in_loop
async def test_a_silent_server_is_asked_again_and_then_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(world()) as lab:
        monkeypatch.setattr(names, "TRY_SECONDS", 0.05)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            silent.setblocking(False)
            lab.net.datagrams["192.0.2.53", 53] = silent.getsockname()
            assert await mx(lab.hosts["pc"], "example.net")
            assert len(silent.recv(512)) == len(silent.recv(512))
            lab.hosts["pc"].resolvers = ["192.0.2.53"]
            with pytest.raises(DnsFailure, match=r"the DNS server 192.0.2.53 does not answer"):
                await mx(lab.hosts["pc"], "example.net")


@in_loop
async def test_a_resolver_remembers_and_fails_when_its_upstream_is_gone() -> None:
    async with running(world()) as lab:
        customer = lab.hosts["customer"]
        await mx(customer, "example.net")
        lab.net.broken["192.0.2.53", 53] = errno.EHOSTUNREACH
        assert len(await mx(customer, "EXAMPLE.net")) == 2
        with pytest.raises(DnsFailure, match=r"home.example cannot be resolved \(SERVFAIL from 192.0.2.54\)"):
            await mx(customer, "home.example")
