from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from port25lab.errors import InputError, nearest
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.path import Auth, PathSpec, Security
from port25lab.model.question import Question
from port25lab.scenario import catalogue
from port25lab.scenario.policy import load_policy
from port25lab.scenario.questions import lab_config, load_questions, question_about
from port25lab.scenario.scenario_file import schema
from port25lab.scenario.topology import load_topology

HEAD = """\
title: T
topology: residential_isp
variants:
  open: {}
  op25b: {isp-edge: op25b}
paths:
"""

_NEAREST = nearest("op25", catalogue.names("policies")).partition("known: ")[2]


def write(folder: Path, *paths: str, head: str = HEAD) -> str:
    file = folder / "my.yaml"
    file.write_text(head + "".join(f"  - {path}\n" for path in paths))
    return str(file)


def questions(folder: Path, *paths: str, head: str = HEAD) -> list[Question]:
    return load_questions(write(folder, *paths, head=head))


def ids(found: list[Question]) -> list[str]:
    return [question.id.removeprefix(f"{question.scenario}/") for question in found]


@pytest.mark.parametrize("name", catalogue.all_names("scenarios"))
def test_every_scenario_of_the_catalogue_is_sound(name: str) -> None:
    found = load_questions(name)
    assert len({question.id for question in found}) == len(found) > 0
    assert all(
        question.scenario == name and question.id.startswith(f"{name}/{question.variant}/") for question in found
    )


def test_a_path_is_asked_in_every_variant_over_both_ip_versions(tmp_path: Path) -> None:
    found = questions(
        tmp_path,
        "{ref: S3, name: to the MX, from: home-server, to: 'mx:example.net', "
        "expect: {open: delivered, op25b: {outcome: dropped, by: isp-edge}}}",
    )
    assert ids(found) == [
        "open/S3-home-server-to-mx:example.net-25/ipv4",
        "open/S3-home-server-to-mx:example.net-25/ipv6",
        "op25b/S3-home-server-to-mx:example.net-25/ipv4",
        "op25b/S3-home-server-to-mx:example.net-25/ipv6",
    ]
    assert [(question.expected, question.by) for question in found] == [
        (Outcome.DELIVERED, None),
        (Outcome.DELIVERED, None),
        (Outcome.DROPPED, "isp-edge"),
        (Outcome.DROPPED, "isp-edge"),
    ]
    assert {(question.name, question.ref, question.sequential) for question in found} == {("to the MX", "S3", False)}
    assert found[0].path == found[2].path


def test_the_empty_variant_is_the_control_of_the_others(tmp_path: Path) -> None:
    head = HEAD.replace("open: {}", "open: {isp-edge: []}").replace(
        "residential_isp", "{name: residential_isp, customers: 2}"
    )
    found = questions(tmp_path, "{from: pc, to: isp-relay, ip: 4, expect: delivered}", head=head)
    opened, blocked = (question.config for question in found)
    assert replace(blocked, policies=()) == opened
    assert hash(replace(blocked, policies=())) == hash(opened)
    assert (opened.policies, opened.policy_names) == ((), {})
    assert opened.parameters == (("customers", 2),)
    assert blocked.policies == (("isp-edge", (catalogue.root() / "policies/op25b",)),)
    assert blocked.policy_names == {"isp-edge": ("op25b",)}
    assert load_policy(str(blocked.policies[0][1][0])).name == "op25b"


def test_policies_are_stacked_in_the_order_of_the_file(tmp_path: Path) -> None:
    head = HEAD.replace("isp-edge: op25b", "isp-edge: [op25b, ip25b], isp-border: none")
    found = questions(tmp_path, "{from: pc, to: isp-relay, ip: 4, expect: delivered}", head=head)
    assert found[1].config.policy_names == {"isp-border": ("none",), "isp-edge": ("op25b", "ip25b")}


def test_ids_say_how_the_client_goes_about_it(tmp_path: Path) -> None:
    head = HEAD.replace("  op25b: {isp-edge: op25b}\n", "")
    found = questions(
        tmp_path,
        "{from: pc, to: provider, port: 587, security: starttls, auth: alice, ip: 4, expect: delivered}",
        "{from: pc, to: provider, port: 465, security: implicit, auth: {user: alice, password: no}, ip: 6, "
        "expect: auth-failed}",
        "{from: pc, to: provider, port: 587, auth: {user: carol, password: x}, ip: 4, expect: auth-failed}",
        "{from: pc, to: provider, auth: {user: alice, password: alice-secret}, ip: auto, expect: delivered}",
        "{from: pc, to: provider, ip: [6, auto], client: [aiosmtplib, swaks], expect: delivered}",
        "{from: pc, to: '2001:db8:25::25', expect: delivered}",
        head=head,
    )
    assert ids(found) == [
        "open/pc-to-provider-587-starttls-alice/ipv4",
        "open/pc-to-provider-465-implicit-alice-badauth/ipv6",
        "open/pc-to-provider-587-carol-badauth/ipv4",
        "open/pc-to-provider-25-alice/auto",
        "open/pc-to-provider-25/ipv6",
        "open/pc-to-provider-25/auto",
        "open/pc-to-provider-25-swaks/ipv6",
        "open/pc-to-provider-25-swaks/auto",
        "open/pc-to-2001:db8:25::25-25/ipv6",
    ]
    assert found[0].path.auth == Auth(user="alice")
    assert found[1].path.security is Security.IMPLICIT
    assert found[3].path.ip_version is None
    assert [question.bad_auth for question in found] == [False, True, True, False, False, False, False, False, False]


def test_a_reference_that_looks_like_a_part_of_an_id_says_nothing_about_the_path(tmp_path: Path) -> None:
    path = "{ref: my-badauth-25B, from: pc, to: provider, port: 587, auth: alice, ip: 4, expect: delivered}"
    [question, *_] = questions(tmp_path, path)
    assert question.bare_id == "my-badauth-25B-pc-to-provider-587-alice/ipv4"
    assert (question.bad_auth, question.path.size) == (False, 0)
    wrong = question.path.model_copy(update={"auth": Auth(user="alice", password="no")})
    assert question_about(wrong, question.config).bad_auth


def test_a_path_says_how_large_its_message_is(tmp_path: Path) -> None:
    (found,) = questions(
        tmp_path, "{from: pc, to: mx, size: 40000, client: swaks, ip: 4, variants: [open], expect: delivered}"
    )
    assert found.path.size == 40000
    assert ids([found]) == ["open/pc-to-mx-25-40000B-swaks/ipv4"]


def test_expectations_may_differ_by_ip_version(tmp_path: Path) -> None:
    head = HEAD.replace("isp-edge: op25b", "isp-edge: op25b-v4only")
    dropped = "{outcome: dropped, by: isp-edge}"
    found = questions(
        tmp_path,
        f"{{from: pc, to: 'mx:example.net', expect: {{open: delivered, op25b: {{ipv4: {dropped}, ipv6: delivered}}}}}}",
        "{from: pc, to: mx, variants: [open], expect: {ipv4: delivered, ipv6: delivered}}",
        head=head,
    )
    assert [(question.variant, question.path.ip_version, question.expected.value) for question in found] == [
        ("open", 4, "delivered"),
        ("open", 6, "delivered"),
        ("open", 4, "delivered"),
        ("open", 6, "delivered"),
        ("op25b", 4, "dropped"),
        ("op25b", 6, "delivered"),
    ]


def test_a_named_ip_version_wins_over_all_others(tmp_path: Path) -> None:
    dropped = "{outcome: dropped, by: isp-edge}"
    found = questions(
        tmp_path,
        f"{{from: pc, to: mx, variants: [op25b], expect: {{'*': {dropped}, ipv6: delivered}}}}",
        f"{{from: pc, to: mx-org, variants: [op25b], expect: {{op25b: {{ipv4: {dropped}, '*': delivered}}}}}}",
    )
    assert [question.expected and question.expected.value for question in found] == ["dropped", "delivered"] * 2


def test_a_named_variant_wins_over_all_others(tmp_path: Path) -> None:
    found = questions(
        tmp_path, "{from: pc, to: mx, ip: 4, expect: {'*': {outcome: dropped, by: isp-edge}, open: delivered}}"
    )
    expected = {question.variant: question.expected and question.expected.value for question in found}
    assert expected == {"open": "delivered", "op25b": "dropped"}


def test_attempts_that_depend_on_one_another(tmp_path: Path) -> None:
    head = HEAD.replace("variants:", "attempts: sequential\nvariants:")
    assert all(q.sequential for q in questions(tmp_path, "{from: pc, to: mx, expect: delivered}", head=head))


SEQUENTIAL = HEAD.replace("variants:", "attempts: sequential\nvariants:")


def test_a_repeated_path_is_asked_again_in_order_and_its_ids_are_counted(tmp_path: Path) -> None:
    found = questions(tmp_path, "{from: pc, to: mx, repeat: 2, hold: true, expect: delivered}", head=SEQUENTIAL)
    assert ids(found)[:4] == [
        "open/pc-to-mx-25/ipv4/1",
        "open/pc-to-mx-25/ipv4/2",
        "open/pc-to-mx-25/ipv6/1",
        "open/pc-to-mx-25/ipv6/2",
    ]
    assert [(q.path.attempt, q.repeat, q.path.hold) for q in found[:2]] == [(1, 2, True), (2, 2, True)]


@pytest.mark.parametrize(
    ("expect", "wanted"),
    [
        ("dropped", ["dropped"] * 3),
        ("{outcome: throttled, by: isp-edge, from: 3}", ["delivered", "delivered", "throttled isp-edge"]),
        ("{outcome: delivered, from: 2, before: tempfail}", ["tempfail", "delivered", "delivered"]),
    ],
)
def test_an_expectation_says_from_which_attempt_on_it_is_true(tmp_path: Path, expect: str, wanted: list[str]) -> None:
    path = f"{{from: pc, to: mx, ip: 4, variants: [open], repeat: 3, expect: {expect}}}"
    found = questions(tmp_path, path, head=SEQUENTIAL)
    assert [" ".join(part for part in (q.expected, q.by) if part) for q in found] == wanted


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("{from: pc, to: mx, repeat: 0, expect: delivered}", "repeat is 0; a whole number from 1 to 100"),
        ("{from: pc, to: mx, repeat: many, expect: delivered}", "repeat is 'many'; a whole number from 1 to 100"),
        (
            "{from: pc, to: mx, repeat: 2, expect: {outcome: dropped, from: 1}}",
            "from is 1; a whole number from 2 to 100",
        ),
        (
            "{from: pc, to: mx, repeat: 2, expect: {outcome: dropped, from: 3}}",
            "`from` is 3, and the path is tried 2 times; an attempt that is made: see `repeat`",
        ),
        (
            "{from: pc, to: mx, expect: {outcome: dropped, from: 2}}",
            "`from` is 2, and the path is tried once; an attempt that is made: see `repeat`",
        ),
        (
            "{from: pc, to: mx, repeat: 2, expect: {outcome: dropped, before: delivered}}",
            "`before` without `from`; from: the first attempt that ends in the outcome",
        ),
        (
            "{from: pc, to: mx, repeat: 2, expect: {outcome: delivered, from: 2}}",
            "delivered from attempt 2 on, and before; two outcomes that differ",
        ),
    ],
)
def test_mistakes_in_repeated_paths(tmp_path: Path, path: str, error: str) -> None:
    with pytest.raises(InputError) as caught:
        questions(tmp_path, path, head=SEQUENTIAL)
    assert f"{caught.value.what}; {caught.value.allowed}" == error
    assert caught.value.line == 8


def test_attempts_that_are_counted_do_not_go_side_by_side(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        questions(tmp_path, "{from: pc, to: mx, repeat: 2, expect: delivered}")
    assert str(caught.value).endswith(
        ":7:32: `repeat` in a scenario whose attempts go side by side; attempts: sequential"
    )


def test_destinations_that_do_not_exist_are_questions_too(tmp_path: Path) -> None:
    for to in ("mx:nowhere.example", "nowhere.example", "192.0.2.200", "2001:db8::dead"):
        assert questions(tmp_path, f"{{from: pc, to: '{to}', expect: unreachable}}")


def test_a_file_brings_its_own_topology_and_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine/block").mkdir(parents=True)
    (tmp_path / "mine/block/policy.yaml").write_text("title: B\n")
    (tmp_path / "mine/block/rules.v4").write_text("*filter\nCOMMIT\n")
    (tmp_path / "mine/net.py").write_text(
        "from mininet.topo import Topo\nclass Net(Topo):\n    def build(self):\n"
        "        self.addHost('a')\n        self.addHost('r', forward=True)\ntopos = {'net': Net}\n"
    )
    head = "title: T\ntopology: net.py\nvariants: {own: {r: ./block}}\npaths:\n"
    write(tmp_path / "mine", "{from: a, to: r, expect: {outcome: dropped, by: r}}", head=head)
    monkeypatch.chdir(tmp_path)
    (question, _) = load_questions("mine/my.yaml")
    assert question.id == f"{tmp_path}/mine/my.yaml/own/a-to-r-25/ipv4"
    assert question.config.topology == tmp_path / "mine/net.py"
    assert question.config.policies == (("r", (tmp_path / "mine/block",)),)


PC = "{from: pc, to: mx, expect: delivered}"
NODES = (
    "cgn-cpe, cgn-pc, company, cpe, cpe-2, dns, foreign-pc, home-server, infected-pc, isp-border, isp-cgn, isp-edge, "
    "isp-relay, isp-resolver, ix, mx, mx-com, mx-org, office, outside, pc, provider, relay-service, rental"
)
MECHANISMS = ", ".join(sorted(set(Mechanism) - {Mechanism.UNKNOWN}))
OUTCOMES = (
    "any, auth-failed, auth-required, blocked, closed, deferred, delivered, dns-failure, dropped, intercepted, passes, "
    "reached, rejected, rejected-icmp, rejected-reset, relay-denied, tampered, tempfail, throttled, tls-failed, "
    "tls-required, unreachable"
)
KEYS = (
    "auth, client, expect, from, hold, ip, name, packet, port, recipient, ref, repeat, security, sender, should, size, "
    "spoof, to, variants"
)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("{form: pc, to: mx, expect: delivered}", f":7:6: unknown key 'form'; did you mean 'from'? known: {KEYS}"),
        ("{to: mx, expect: delivered}", ":7:5: the key 'from' is missing; it cannot be left out"),
        ("{from: pc, expect: any}", ":7:5: the key 'to' is missing; it cannot be left out"),
        (
            "{from: pc, to: example.net, expect: delivered}",
            ":7:20: no server is called 'example.net'; did you mean 'mx:example.net', the domain's MX? domains: "
            + ", ".join(sorted(d for node in load_topology("residential_isp").nodes.values() for d in node.domains)),
        ),
        (
            "{from: pcc, to: mx, expect: delivered}",
            f":7:12: no node 'pcc'; a node of residential_isp: did you mean 'pc'? known: {NODES}",
        ),
        (
            "{from: pc, to: isprelay, expect: delivered}",
            ":7:20: no node 'isprelay'; a DNS name, an address, or did you mean 'isp-relay'? known: "
            + ", ".join(
                sorted(
                    NODES.split(", ")
                    + [f"mx:{domain}.example" for domain in ("company", "home", "office", "provider", "rental", "isp")]
                    + ["mx:example.com", "mx:example.net", "mx:example.org"]
                    + ["mx:blocklisting.example", "mx:greylisting.example"]
                )
            ),
        ),
        ("{from: pc, to: 300.1.1.1, expect: delivered}", None),
        ("{from: pc, to: 'mx:', expect: delivered}", ":7:20: 'mx:' names no domain; mx:DOMAIN, such as mx:example.net"),
        (
            "{from: pc, to: 192.0.2.25, ip: [4, 6], expect: delivered}",
            ":7:40: IPv6 to 192.0.2.25, which is an IPv4 address; ip: 4",
        ),
        ("{from: pc, to: mx, port: 0, expect: delivered}", ":7:30: port is 0; a whole number from 1 to 65535"),
        (
            "{from: pc, to: mx, size: 20 kB, expect: delivered}",
            ":7:30: size is '20 kB'; a whole number from 0 to 10000000",
        ),
        ("{from: pc, to: mx, port: smtp, expect: delivered}", ":7:30: port is 'smtp'; a whole number from 1 to 65535"),
        (
            "{from: pc, to: mx, security: tls, expect: delivered}",
            ":7:34: security is 'tls'; did you mean 'implicit' or 'starttls'? known: implicit, none, starttls",
        ),
        ("{from: pc, to: mx, ip: 5, expect: delivered}", ":7:28: ip is 5; 4, 6, auto, or a list of them"),
        ("{from: pc, to: mx, ip: [4, true], expect: delivered}", ":7:32: ip is a list; 4, 6, auto, or a list of them"),
        (
            "{from: pc, to: mx, ip: [], expect: delivered}",
            ":7:28: ip is a list without entries; 4, 6, auto, or a list of them",
        ),
        (
            "{from: pc, to: mx, client: [swaks, mutt], expect: delivered}",
            ":7:40: unknown client 'mutt'; known: aiosmtplib, curl, msmtp, postfix, smtplib, swaks",
        ),
        (
            "{from: pc, to: mx, client: [swaks, swaks], expect: delivered}",
            ":7:40: the client 'swaks' is named twice; each client once",
        ),
        (
            "{from: pc, to: mx, client: [], expect: delivered}",
            ":7:32: client is a list without entries; one entry at least",
        ),
        (
            "{from: pc, to: mx, recipient: somebody, expect: delivered}",
            ":7:35: 'somebody' is no mail address; NAME@DOMAIN, such as recipient@example.net",
        ),
        (
            "{from: pc, to: mx, sender: a b@example.net, expect: delivered}",
            ":7:32: 'a b@example.net' is no mail address; NAME@DOMAIN, such as recipient@example.net",
        ),
        (
            "{from: pc, to: provider, auth: alcie, expect: delivered}",
            ":7:36: no user 'alcie' at provider; did you mean 'alice'? known: alice, bob; or any user with a password",
        ),
        (
            "{from: pc, to: mx, auth: alice, expect: delivered}",
            ":7:30: no user 'alice' at mx; known: none; or any user with a password",
        ),
        (
            "{from: pc, to: nowhere.example, auth: {user: alice}, expect: dns-failure}",
            ":7:50: the password of 'alice' at nowhere.example is not known, for nowhere.example is no server of "
            "residential_isp; {user: …, password: …}",
        ),
        (
            "{from: pc, to: mx, auth: {user: a, pass: b}, expect: delivered}",
            ":7:40: unknown key 'pass'; did you mean 'password'? known: password, user",
        ),
        (
            "{from: pc, to: mx, variants: [opn], expect: delivered}",
            ":7:35: no variant 'opn'; did you mean 'open'? known: op25b, open",
        ),
        (
            "{from: pc, to: mx, variants: [open, open], expect: delivered}",
            ":7:41: the variant 'open' is named twice; each variant once",
        ),
        (
            "{from: pc, to: mx, expect: deliverd}",
            f":7:32: no outcome 'deliverd' can be expected; did you mean 'delivered'? known: {OUTCOMES}",
        ),
        (
            "{from: pc, to: mx, expect: {outcome: intercepted, how: tarpitt}}",
            f":7:60: no mechanism 'tarpitt' can be expected; did you mean 'tarpit'? known: {MECHANISMS}",
        ),
        (
            "{from: pc, to: mx, expect: {outcome: dropped, how: unknown}}",
            f":7:56: no mechanism 'unknown' can be expected; did you mean 'none'? known: {MECHANISMS}",
        ),
        ("{from: pc, to: mx, expect: error}", f":7:32: no outcome 'error' can be expected; known: {OUTCOMES}"),
        (
            "{from: pc, to: mx, expect: [dropped]}",
            ":7:32: an expectation is a list; OUTCOME, or {outcome: …, by: NODE, how: MECHANISM, from: ATTEMPT}",
        ),
        (
            "{from: pc, to: mx, expect: {op25b: dropped}}",
            ":7:32: no expectation for variant open; one for each variant in which the path is tried",
        ),
        (
            "{from: pc, to: mx, expect: {open: delivered, opb25: dropped}}",
            ":7:50: no variant 'opb25'; did you mean 'op25b'? known: op25b, open",
        ),
        (
            "{from: pc, to: mx, variants: [op25b], expect: {open: delivered, op25b: dropped}}",
            ":7:52: the path is not tried in open; its variants: op25b",
        ),
        (
            "{from: pc, to: mx, expect: {open: delivered, op25b: {ipv4: dropped}}}",
            ":7:57: no expectation for IP version ipv6; one for each IP version over which the path is tried",
        ),
        (
            "{from: pc, to: mx, ip: 4, expect: {ipv4: delivered, ipv6: delivered}}",
            ":7:57: the path is not tried over ipv6; its IP versions: ipv4",
        ),
        (
            "{from: pc, to: mx, expect: {ipv4: delivered, ipv6: {outcome: dropped, by: isp-egde}}}",
            f":7:79: no node 'isp-egde'; a node of residential_isp: did you mean 'isp-edge'? known: {NODES}",
        ),
        (
            "{from: pc, to: mx, expect: {outcome: delivered, by: isp-edge}}",
            ":7:57: `by` with delivered, which no rule decides; "
            "`by` with dropped, rejected-icmp, rejected-reset, throttled, deferred, intercepted, tampered, closed, "
            "unreachable, auth-required, dns-failure, blocked",
        ),
        ("{ref: S 3, from: pc, to: mx, expect: delivered}", ":7:11: 'S 3' is no ref; letters, digits and _ . -"),
    ],
)
def test_bad_paths_are_refused_with_their_place(tmp_path: Path, path: str, error: str | None) -> None:
    file = write(tmp_path, path)
    with pytest.raises(InputError) as caught:
        load_questions(file)
    if error is None:
        assert str(caught.value).startswith(f"{file}:7:20: no node '300.1.1.1'; a DNS name, an address, or known: ")
    else:
        assert str(caught.value) == f"{file}{error}"


ROUTERS = "cgn-cpe, cpe, cpe-2, isp-border, isp-cgn, isp-edge, ix"
SETS = (
    "cgn-customers, cpe-allowed, dynamic-customers, foreign-dynamic, isp-networks, isp-relays, mobile-carriers, "
    "static-customers, suspected-spammers"
)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (
            "title: T",
            "titel: T",
            ":1:1: unknown key 'titel'; did you mean 'title'? "
            "known: attempts, description, links, matrix, paths, title, topology, variants",
        ),
        (
            "topology: residential_isp",
            "topology: residental_isp",
            ":2:11: no topology 'residental_isp'; did you mean 'residential_isp'? "
            "known: access_isps, cloud_vpc, hosting, hotel, internet, residential_isp, triangular, unusual_customers, "
            "or the path of a Python file",
        ),
        (
            "topology: residential_isp",
            "topology: {name: residential_isp, customer: 2}",
            ":2:45: unknown parameter 'customer' of topology residential_isp; "
            "did you mean 'customers'? known: customers",
        ),
        (
            "topology: residential_isp",
            "topology: {name: residential_isp, customers: 3901}",
            ":2:46: topology residential_isp: customers is 3901; allowed is a whole number from 0 to 3900",
        ),
        (
            "topology: residential_isp",
            "topology: [a]",
            ":2:11: topology is no name; NAME, or {name: NAME, PARAMETER: VALUE}",
        ),
        (
            "topology: residential_isp",
            "topology: {customers: 2}",
            ":2:11: the key 'name' is missing; it cannot be left out",
        ),
        ("open: {}", "a/b: {}", ":4:3: 'a/b' is no name for a variant; letters, digits and _ . + -"),
        ("open: {}", "ipv4: {}", ":4:3: a variant cannot be named 'ipv4'; a word without a meaning of its own"),
        ("open: {}", "open:", ":4:3: open is empty; a mapping, KEY: VALUE"),
        (
            "isp-edge: op25b",
            "isp-edge: op25",
            ":5:21: no policy 'op25'; did you mean 'op25b'? known: {policies}, or the path of a folder",
        ),
        (
            "isp-edge: op25b",
            "isp-egde: op25b",
            f":5:11: no node 'isp-egde'; a router of residential_isp: did you mean 'isp-edge'? known: {ROUTERS}",
        ),
        (
            "isp-edge: op25b",
            "pc: op25b",
            f":5:11: 'pc' does not forward packets; a router of residential_isp: known: {ROUTERS}",
        ),
        (
            "isp-edge: op25b",
            "isp-edge: aws",
            f":5:21: policy aws needs the set 'exempt-instances', which residential_isp does not fill; known: {SETS}",
        ),
        (
            "isp-edge: op25b",
            "isp-edge: [op25b, ip25b, op25b]",
            ":5:36: policy op25b is on isp-edge already; each policy once on a node",
        ),
        ("isp-edge: op25b", "cpe: cpe-nat", ":5:16: policy cpe-nat is on cpe already; each policy once on a node"),
        (
            "variants:",
            "attempts: parallel\nvariants:",
            ":3:11: attempts is 'parallel'; known: concurrent, sequential",
        ),
    ],
)
def test_bad_heads_are_refused_with_their_place(tmp_path: Path, old: str, new: str, error: str) -> None:
    file = write(tmp_path, PC, head=HEAD.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_questions(file)
    assert str(caught.value) == file + error.replace("{policies}", _NEAREST)


def test_the_same_path_twice(tmp_path: Path) -> None:
    file = write(tmp_path, PC, PC.replace("mx", "mx-org"), PC)
    with pytest.raises(InputError) as caught:
        load_questions(file)
    assert str(caught.value) == (
        f"{file}:9:5: path 3 has the same id as path 1: pc-to-mx-25/ipv4; "
        "each path once, or a `ref` that tells them apart"
    )


def test_two_policies_with_the_same_chain_on_a_node(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/policy.yaml").write_text("title: O\n")
    (tmp_path / "own/rules.v4").write_text("*filter\n:op25b - [0:0]\n-A op25b -j DROP\nCOMMIT\n")
    file = write(tmp_path, PC, head=HEAD.replace("isp-edge: op25b", "isp-edge: [op25b, own]"))
    with pytest.raises(InputError) as caught:
        load_questions(file)
    assert str(caught.value) == (
        f"{file}:5:29: policies op25b and own both have the chain op25b in filter; "
        "chains of its own for each policy on a node"
    )


def test_a_mistake_in_a_policy_is_told_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/policy.yaml").write_text("title: O\n")
    file = write(tmp_path, PC, head=HEAD.replace("isp-edge: op25b", "isp-edge: own"))
    with pytest.raises(InputError) as caught:
        load_questions(file)
    assert str(caught.value) == f"{tmp_path}/own: the policy has no rules; rules.v4, rules.v6 or both"


TOWN = (
    "from mininet.topo import Topo\nclass Town(Topo):\n    def build(self):\n"
    "        self.addHost('a', {})\ntopos = {{'town': Town}}\n"
)


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        (
            "forward=True, policies=['op25']",
            ": node 'a': no policy 'op25'; did you mean 'op25b'? known: {policies}, or the path of a folder",
        ),
        (
            "forward=True, policies=['op25b']",
            ": policy op25b needs the set 'isp-relays', which town does not fill; known: none",
        ),
    ],
)
def test_mistakes_in_the_networks_own_rules(tmp_path: Path, parameters: str, error: str) -> None:
    (tmp_path / "town.py").write_text(TOWN.format(parameters))
    file = write(
        tmp_path, "{from: a, to: a, expect: closed}", head="title: T\ntopology: town.py\nvariants: {o: {}}\npaths:\n"
    )
    with pytest.raises(InputError) as caught:
        load_questions(file)
    assert str(caught.value) == f"{tmp_path}/town.py{error}".replace("{policies}", _NEAREST)


def test_an_unknown_kind_of_service_is_found_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "town.py").write_text(TOWN.format("services=[{'kind': 'mxx'}]"))
    file = write(
        tmp_path, "{from: a, to: a, expect: closed}", head="title: T\ntopology: town.py\nvariants: {o: {}}\npaths:\n"
    )
    with pytest.raises(InputError) as caught:
        load_questions(file)
    assert "unknown kind of service 'mxx'; did you mean 'mx'?" in str(caught.value)


def test_a_lab_asked_for_in_python_is_that_of_a_file(tmp_path: Path) -> None:
    question = questions(tmp_path, "{from: pc, to: mx, variants: [op25b], expect: dropped}")[0]
    config = lab_config("residential_isp", {"isp-edge": "op25b"}, {})
    assert config == question.config == lab_config("residential_isp", {"isp-edge": ["op25b"]}, {})
    asked = question_about(question.path, config, Outcome.DROPPED, "isp-edge")
    assert (asked.id, asked.path) == ("residential_isp/isp-edge=op25b/pc-to-mx-25/ipv4", question.path)
    anything = question_about(question.path, lab_config("residential_isp", {}, {"customers": 1}))
    assert (anything.id, anything.expected) == ("residential_isp/open/pc-to-mx-25/ipv4", None)


@pytest.mark.parametrize(
    ("topology", "policies", "parameters", "error"),
    [
        ("hotle", {}, {}, "no topology 'hotle'; did you mean 'hotel'?"),
        ("hotel", {}, {"room": 3}, "unknown parameter 'room' of topology hotel; did you mean 'rooms'?"),
        ("hotel", {"isp-edgy": "op25b"}, {}, "no node 'isp-edgy'; a router of hotel: did you mean 'isp-edge'?"),
        ("hotel", {"isp-edge": ["op25b", "op25"]}, {}, "no policy 'op25'; did you mean 'op25b'?"),
    ],
)
def test_mistakes_in_python_are_told_as_those_in_files(
    topology: str, policies: dict[str, str | list[str]], parameters: dict[str, int], error: str
) -> None:
    with pytest.raises(InputError) as caught:
        lab_config(topology, policies, parameters)
    assert str(caught.value).startswith(error)


@pytest.mark.parametrize(
    ("path", "by", "error"),
    [
        (PathSpec(source="guest-9", to="mx"), None, "no node 'guest-9'; a node of hotel: did you mean 'guest-2'?"),
        (PathSpec(source="guest-1", to="mxx"), None, "no node 'mxx'; a DNS name, an address, or did you mean 'mx'?"),
        (PathSpec(source="guest-1", to="mx", auth=Auth(user="alice")), None, "no user 'alice' at mx; known: none"),
        (PathSpec(source="guest-1", to="mx", client="mutt"), None, "unknown client 'mutt'; known: aiosmtplib"),
        (
            PathSpec(source="guest-1", to="mx"),
            "isp-edg",
            "no node 'isp-edg'; a node of hotel: did you mean 'isp-edge'?",
        ),
    ],
)
def test_mistakes_in_a_path_asked_from_python(path: PathSpec, by: str | None, error: str) -> None:
    with pytest.raises(InputError) as caught:
        question_about(path, lab_config("hotel", {}, {}), Outcome.DROPPED, by)
    assert str(caught.value).startswith(error)


def test_unknown_scenario() -> None:
    with pytest.raises(InputError) as caught:
        load_questions("./none.yaml")
    assert re.fullmatch(
        r"no scenario './none.yaml' in .*; did you mean .* known: .*, or the path of a YAML file", str(caught.value)
    )


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*map(_references, node.values()))
    return set().union(*map(_references, node)) if isinstance(node, list) else set()


def test_the_schema_knows_every_key_and_offers_the_catalogue() -> None:
    made = schema()
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert sorted(made["properties"]) == [
        "attempts",
        "description",
        "links",
        "matrix",
        "paths",
        "title",
        "topology",
        "variants",
    ]
    assert made["required"] == ["title", "topology", "variants", "paths"]
    assert made["properties"]["topology"]["anyOf"][0] == {"enum": catalogue.names("topologies")}
    path = made["$defs"]["PathEntry"]
    assert ", ".join(sorted(path["properties"])) == KEYS
    assert path["additionalProperties"] is False
    assert sorted(made["$defs"]["ExpectedOutcome"]["anyOf"][0]["enum"]) == OUTCOMES.split(", ")
    assert all(reference.removeprefix("#/$defs/") in made["$defs"] for reference in _references(made))


def test_the_mechanism_is_expected_from_the_attempt_on_at_which_it_turns() -> None:
    throttled = [question for question in load_questions("limits-cloud") if question.expected_from is not None]
    assert {(question.path.attempt >= 4, question.how) for question in throttled} == {
        (True, Mechanism.RATE_LIMIT),
        (False, None),
    }
