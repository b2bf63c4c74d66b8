import pytest

from loopback_services import USERS, node, plan
from port25lab.errors import InputError
from port25lab.model import service_kinds


def refusal(*of_node: dict[str, object], **params: object) -> str:
    with pytest.raises(InputError) as refused:
        service_kinds.check(plan(node("shop", 9, *of_node, **params)))
    return str(refused.value)


def test_all_kinds_with_all_their_parameters_are_accepted() -> None:
    service_kinds.check(
        plan(
            node("a", 1, {"kind": "mx", "domains": ["example.net"], "users": USERS}),
            node("b", 2, {"kind": "submission", "users": USERS}, {"kind": "submissions", "users": USERS}),
            node("c", 3, {"kind": "relay", "networks": ["192.0.2.0/24", "2001:db8::/32"], "domains": ["c.example"]}),
            node("d", 4, {"kind": "relay-service", "users": USERS}),
            node("e", 5, {"kind": "open-relay"}),
            node("f", 6, {"kind": "resolver", "upstream": "192.0.2.53"}),
        )
    )


@pytest.mark.parametrize(
    ("service", "text"),
    [
        (
            {"kind": "submision", "users": USERS},
            "unknown kind of service 'submision'; did you mean 'submission'? known: ",
        ),
        ({"domains": ["a.example"]}, "service {'domains': ['a.example']} has no kind; known: banner-mask, dns, "),
        (
            {"kind": "mx", "domains": ["a.example"], "user": USERS},
            "unknown parameter 'user' of service 'mx'; did you mean 'users'? known: dnsbl, domains, greylist, users",
        ),
        ({"kind": "dns", "zone": "x"}, "unknown parameter 'zone' of service 'dns'; known: blocklists"),
        ({"kind": "mx"}, "service 'mx' needs 'domains'; allowed is a list of domains, such as ['example.net']"),
        (
            {"kind": "mx", "domains": "example.net"},
            "'domains' of service 'mx' is 'example.net'; allowed is a list of domains, such as ['example.net']",
        ),
        (
            {"kind": "relay", "networks": ["192.0.2.1/24"]},
            "'networks' of service 'relay' is ['192.0.2.1/24']; allowed is a list of networks, such as ",
        ),
        (
            {"kind": "resolver", "upstream": "ns.example"},
            "'upstream' of service 'resolver' is 'ns.example'; allowed is the address of a DNS server, such as ",
        ),
        (
            {"kind": "submission", "users": ["alice"]},
            "'users' of service 'submission' is ['alice']; allowed are users with their passwords, such as ",
        ),
    ],
)
def test_a_service_that_makes_no_sense_is_refused(service: dict[str, object], text: str) -> None:
    assert refusal(service).startswith(f"loopback.py: node 'shop': {text}")


def test_two_services_cannot_share_a_port() -> None:
    both = {"kind": "mx", "domains": ["a.example"]}, {"kind": "open-relay"}
    assert "services 'mx' and 'open-relay' both want port 25; one service for each port" in refusal(*both)


def test_a_name_that_no_certificate_can_carry_is_refused() -> None:
    text = refusal({"kind": "open-relay"}, names=("a_b.example",))
    assert text.endswith("'a_b.example' is no host name; allowed are labels of letters, digits and hyphens (RFC 1123)")
