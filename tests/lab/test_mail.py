"""Statements about mail, each tried in a real lab: who reaches whom, how, and what the servers say."""

from __future__ import annotations

from typing import Any

import pytest

from port25lab.pytest_plugin.labs import LabFactory, LabUnderTest
from swaks_version import is_new

STARTTLS: dict[str, Any] = {"port": 587, "security": "starttls"}
IMPLICIT: dict[str, Any] = {"port": 465, "security": "implicit"}
ALICE: dict[str, Any] = {"auth": {"user": "alice"}}
CLIENTS = ("aiosmtplib", "smtplib", "swaks")

both_versions = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


@pytest.fixture
def home(lab: LabFactory) -> LabUnderTest:
    """Customers of an ISP that applies OP25B."""
    return lab("residential_isp", {"isp-edge": "op25b"})


@pytest.fixture
def hotel(lab: LabFactory) -> LabUnderTest:
    return lab("hotel", {"isp-edge": "op25b-all"}, rooms=1, relay=True)


@pytest.fixture
def cloud(lab: LabFactory) -> LabUnderTest:
    return lab("cloud_vpc", {"cloud-edge": "aws"})


# -- senders -----------------------------------------------------------------------------------------------------------


@both_versions
def test_a_customer_reaches_the_isps_relay_on_25(home: LabUnderTest, version: int) -> None:
    verdict = home.expect("delivered", source="pc", to="isp-relay", ip_version=version)
    assert [(hop.node, hop.to) for hop in verdict.evidence.hops][-1] == ("isp-relay", "mx.example.net")


@both_versions
def test_a_self_hosted_server_does_not_reach_the_recipients_mx(home: LabUnderTest, version: int) -> None:
    home.expect("dropped", by="isp-edge", source="home-server", to="mx:example.net", ip_version=version)


@both_versions
def test_hotel_guest_reaches_own_server_on_587(hotel: LabUnderTest, version: int) -> None:
    hotel.expect("delivered", source="guest-1", to="company", ip_version=version, **STARTTLS, **ALICE)


@both_versions
def test_hotel_guest_does_not_reach_own_server_on_25(hotel: LabUnderTest, version: int) -> None:
    path = {"source": "guest-1", "to": "company", "security": "starttls", **ALICE}
    hotel.expect("dropped", by="isp-edge", ip_version=version, **path)


def test_mail_that_the_hotels_relay_took_is_deferred_by_the_isps_rule(hotel: LabUnderTest) -> None:
    verdict = hotel.expect("deferred", by="isp-edge", source="guest-1", to="hotel-relay", ip_version=4)
    tries = [hop for hop in verdict.evidence.hops if hop.node == "hotel-relay"]
    assert len(tries) >= 2, "a relay tries again before its mail counts as deferred"
    assert {hop.observation.errno for hop in tries} == {"ETIMEDOUT"}
    assert {bool(hop.decisions) for hop in tries} == {True}
    assert verdict.blame is not None
    assert verdict.blame.policy == "op25b-all"
    assert verdict.observation.smtp_code == 250, "the guest was told that all is well"


def test_a_relay_delivers_what_it_kept_once_the_block_is_gone(own_lab: LabFactory) -> None:
    """The first two SYNs to the recipient's server are lost, over each IP version: that is one try of each address."""
    isp = own_lab("residential_isp")
    first = ["-p", "tcp", "--syn", "--dport", "25", "-m", "statistic", "--mode", "nth", "--every", "1000"]
    for program in ("iptables", "ip6tables"):
        for _ in range(2):  # each rule takes the first one that it sees
            done = isp.run("mx", program, "-A", "INPUT", *first, "--packet", "0", "-j", "DROP")
            assert done["returncode"] == 0, done["stderr"]
    verdict = isp.expect("delivered", source="pc", to="isp-relay", ip_version=4)
    assert [hop.observation.errno for hop in verdict.evidence.hops] == ["ETIMEDOUT", "ETIMEDOUT", None]
    assert [hop.observation.stage.value for hop in verdict.evidence.hops] == ["connect", "connect", "done"]


@both_versions
def test_an_instance_passes_mail_to_the_relay_in_its_vpc_which_is_exempt(cloud: LabUnderTest, version: int) -> None:
    cloud.expect("delivered", source="instance-1", to="vpc-relay", ip_version=version)


@both_versions
def test_a_self_hosted_server_sends_through_a_relay_service(home: LabUnderTest, version: int) -> None:
    verdict = home.expect(
        "delivered", source="home-server", to="relay-service", ip_version=version, **STARTTLS, **ALICE
    )
    assert verdict.evidence.hops[-1].node == "relay-service"


@both_versions
def test_mail_comes_in_to_a_server_at_home_through_its_routers_forwarded_port(home: LabUnderTest, version: int) -> None:
    path = {"source": "outside", "to": "mx:home.example", "recipient": "owner@home.example"}
    home.expect("delivered", ip_version=version, **path)


# -- servers and what they say -----------------------------------------------------------------------------------------

REPLIES = {
    "mx takes mail for its own domain": ("delivered", 250, {"to": "mx:example.net"}),
    "mx with STARTTLS": ("delivered", 250, {"to": "mx:example.net", "security": "starttls"}),
    "mx does not relay": ("relay-denied", 550, {"to": "mx:example.net", "recipient": "someone@example.org"}),
    "mx has no submission": ("closed", None, {"to": "mx:example.net", "port": 587}),
    "submission wants AUTH": ("auth-required", 530, {"to": "company", **STARTTLS}),
    "submission wants TLS before AUTH": ("auth-failed", None, {"to": "company", "port": 587, **ALICE}),
    "submission with AUTH": ("delivered", 250, {"to": "company", **STARTTLS, **ALICE}),
    "submission with a wrong password": (
        "auth-failed",
        535,
        {"to": "company", **STARTTLS, "auth": {"user": "alice", "password": "guessed"}},
    ),
    "submission with an unknown user": (
        "auth-failed",
        535,
        {"to": "company", **STARTTLS, "auth": {"user": "mallory", "password": "guessed"}},
    ),
    "submissions with AUTH": ("delivered", 250, {"to": "company", **IMPLICIT, **ALICE}),
    "submissions wants AUTH": ("auth-required", 530, {"to": "company", **IMPLICIT}),
    "submission with implicit TLS": ("tls-failed", None, {"to": "company", "port": 587, "security": "implicit"}),
    "relay service on 2525": ("delivered", 250, {"to": "relay-service", **STARTTLS, "port": 2525, **ALICE}),
    "relay service on 465": ("delivered", 250, {"to": "relay-service", **IMPLICIT, **ALICE}),
    "relay service has no port 25": ("closed", None, {"to": "relay-service"}),
    "isp's relay from outside": ("relay-denied", 550, {"source": "outside", "to": "isp-relay"}),
    "isp's relay from outside with AUTH": (
        "delivered",
        250,
        {"source": "outside", "to": "isp-relay", **STARTTLS, **ALICE},
    ),
    "open relay": ("delivered", 250, {"source": "office", "to": "outside"}),
    "a name that does not exist": ("dns-failure", None, {"to": "mail.nowhere.example"}),
    "a domain that does not exist": ("dns-failure", None, {"to": "mx:nowhere.example"}),
}


@pytest.mark.parametrize("statement", REPLIES)
def test_what_servers_say(lab: LabFactory, statement: str) -> None:
    outcome, code, path = REPLIES[statement]
    verdict = lab("residential_isp").expect(outcome, **{"source": "pc", "ip_version": 4} | path)
    assert verdict.observation.smtp_code == code


def test_delivered_means_that_the_recipients_server_has_it_and_not_that_somebody_took_it(home: LabUnderTest) -> None:
    """A relay takes mail for a domain without any server; it never arrives, and so is never called delivered."""
    verdict = home.send(source="pc", to="isp-relay", recipient="someone@nowhere.example", ip_version=4)
    assert verdict.observation.smtp_code == 250
    assert verdict.outcome.value == "dns-failure"


# -- client programs ---------------------------------------------------------------------------------------------------


FALL_BACK = ("aiosmtplib", "smtplib", *["swaks"] * is_new())
"""Programs that try all addresses of a server. Up to 2020, swaks takes the first one, and that is that."""


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_left_to_choose_takes_ipv6(lab: LabFactory, street: str, client: str) -> None:
    verdict = lab(street).expect("delivered", source="sender", to="mx:example.net", client=client)
    assert verdict.observation.address == "2001:db8:25::25"


@pytest.mark.parametrize("client", FALL_BACK)
def test_where_ipv6_is_broken_a_client_gets_there_by_ipv4(lab: LabFactory, street: str, client: str) -> None:
    verdict = lab(street, broken6=True).expect("delivered", source="sender", to="mx:example.net", client=client)
    assert verdict.observation.address == "192.0.2.25"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_block_for_ipv4_alone_is_gone_round_by_ipv6(lab: LabFactory, client: str) -> None:
    leaky = lab("residential_isp", {"isp-edge": "op25b-v4only"})
    verdict = leaky.expect("delivered", source="home-server", to="mx:example.net", client=client)
    assert verdict.observation.address == "2001:db8:25::25"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_block_for_ipv6_alone_is_gone_round_by_ipv4_where_the_client_tries_it(
    lab: LabFactory, street: str, client: str, make_policy: Any
) -> None:
    rules = "*filter\n-A FORWARD -p tcp --dport 25 -j REJECT --reject-with tcp-reset\nCOMMIT\n"
    half = lab(street, {"edge": make_policy("v6only", v6=rules)})
    expected = "delivered" if client in FALL_BACK else "rejected-reset"
    verdict = half.expect(expected, source="sender", to="mx:example.net", client=client)
    assert verdict.observation.address == ("192.0.2.25" if client in FALL_BACK else "2001:db8:25::25")
    assert bool(verdict.blame) == (client not in FALL_BACK)


SAME = ("stage", "errno", "smtp_code", "enhanced_code", "missing", "address")


@both_versions
@pytest.mark.parametrize(
    ("outcome", "path"),
    [
        ("delivered", {"to": "company", **STARTTLS, **ALICE}),
        ("delivered", {"to": "mx:example.net"}),
        ("auth-required", {"to": "company", **STARTTLS}),
        ("auth-failed", {"to": "company", **STARTTLS, "auth": {"user": "alice", "password": "guessed"}}),
        ("relay-denied", {"to": "mx:example.net", "recipient": "someone@example.org"}),
        ("closed", {"to": "mx:example.net", "port": 2525}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_all_clients_tell_the_same(lab: LabFactory, outcome: str, path: dict[str, Any], version: int) -> None:
    isp = lab("residential_isp")
    seen = [
        isp.expect(outcome, source="pc", ip_version=version, client=client, **path).observation for client in CLIENTS
    ]
    told = [{name: getattr(one, name) for name in SAME} for one in seen]
    assert told[0] == told[1] == told[2]
