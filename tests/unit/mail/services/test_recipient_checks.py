"""How an MX receives strangers: greylisting and DNS blocklists."""

from ipaddress import ip_address, ip_network

import pytest

from loopback_services import in_loop, node, plan, running
from port25lab.errors import InputError
from port25lab.mail.services.recipient_checks import reversed_name
from port25lab.model import service_kinds
from port25lab.model.evidence import Stage
from port25lab.model.plan import Plan

GREYLISTING = {"kind": "mx", "domains": ["example.net"], "greylist": {"example.net": 0.2}}
BLOCKLISTING = {
    "kind": "mx",
    "domains": ["example.net", "example.org"],
    "dnsbl": {"example.net": "dnsbl.example"},
}


def world(mx: dict[str, object], *listed: str) -> Plan:
    made = plan(node("mx", 25, mx), node("relay", 26, {"kind": "open-relay"}), node("pc", 10))
    names = {"dns": made.nodes["dns"].model_copy(update={"services": ({"kind": "dns", "blocklists": LISTS},)})}
    sets = {"dynamic": tuple(map(ip_network, listed))}
    return made.model_copy(update={"nodes": {**made.nodes, **names}, "sets": sets})


LISTS = {"dnsbl.example": "dynamic"}


@in_loop
async def test_a_stranger_is_to_come_again() -> None:
    async with running(world(GREYLISTING)) as lab:
        seen = await lab.send("pc", "mx")
        assert (seen.stage, seen.smtp_code, seen.enhanced_code) == (Stage.RCPT, 450, "4.7.1")
        assert seen.reply == "4.7.1 <recipient@example.net>: greylisted, try again in 0.2 s"
        assert (await lab.send("pc", "mx")).smtp_code == 450


@in_loop
async def test_a_relay_comes_again_and_delivers() -> None:
    async with running(world(GREYLISTING)) as lab:
        assert (await lab.send("pc", "relay", token="a1")).stage is Stage.DONE
        await lab.arrival("mx")
        delivery = lab.services.mailboxes.delivery("a1")
        assert delivery.delivered_to == "mx"
        codes = [record.hop.observation.smtp_code for record in delivery.tries if record.hop.observation.smtp_code]
        assert codes[0] == 450


@in_loop
async def test_a_listed_address_is_refused_where_the_list_is_consulted() -> None:
    # On loopback every client has an address of 127.0.0.0/8.
    async with running(world(BLOCKLISTING, "127.0.0.0/8")) as lab:
        seen = await lab.send("pc", "mx")
        assert (seen.stage, seen.smtp_code, seen.enhanced_code) == (Stage.RCPT, 554, "5.7.1")
        assert (seen.reply or "").endswith("] blocked using dnsbl.example")
        assert (await lab.send("pc", "mx", recipient="x@example.org")).stage is Stage.DONE


@in_loop
async def test_an_address_that_is_not_listed_is_welcome() -> None:
    async with running(world(BLOCKLISTING, "192.0.2.0/24", "2001:db8::/32")) as lab:
        assert (await lab.send("pc", "mx")).stage is Stage.DONE


def test_addresses_are_reversed_as_blocklists_have_them() -> None:
    assert reversed_name(ip_address("192.0.2.25")) == "25.2.0.192"
    assert reversed_name(ip_address("2001:db8::25")) == "5.2." + "0." * 22 + "8.b.d.0.1.0.0.2"


@pytest.mark.parametrize(
    ("mx", "text"),
    [
        (
            {"greylist": {"example.com": 1}},
            "'greylist' of service 'mx' is about 'example.com'; allowed are its own domains: example.net",
        ),
        (
            {"greylist": True},
            "'greylist' of service 'mx' is True; allowed are seconds by domain, such as {'example.net': 0.2}",
        ),
        (
            {"dnsbl": "dnsbl.example"},
            "'dnsbl' of service 'mx' is 'dnsbl.example'; allowed is a DNS blocklist by domain, such as ",
        ),
    ],
)
def test_a_reception_that_makes_no_sense_is_refused(mx: dict[str, object], text: str) -> None:
    with pytest.raises(InputError) as refused:
        service_kinds.check(plan(node("mx", 25, {"kind": "mx", "domains": ["example.net"], **mx})))
    assert str(refused.value).startswith(f"loopback.py: node 'mx': {text}")


def test_a_blocklist_of_a_set_that_nobody_fills_is_refused() -> None:
    dns = {"kind": "dns", "blocklists": {"dnsbl.example": "dinamic"}}
    with pytest.raises(InputError) as refused:
        service_kinds.check(world(GREYLISTING).model_copy(update={"nodes": {"ns": node("ns", 54, dns)}}))
    text = "the blocklist dnsbl.example is to hold the set 'dinamic'; did you mean 'dynamic'? known: dynamic"
    assert str(refused.value) == f"loopback.py: node 'ns': {text}"
