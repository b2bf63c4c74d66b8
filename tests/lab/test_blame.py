"""Which rule decided: the kernel's word in every verdict, joined to the line that the policy's author wrote."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from port25lab.engine.engine import Engine
from port25lab.engine.progress import Quiet
from port25lab.errors import InputError
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.verdict import Verdict
from port25lab.pytest_plugin.labs import LabFactory, LabUnderTest
from port25lab.scenario.questions import load_questions

MX: dict[str, Any] = {"source": "sender", "to": "mx:example.net"}

# -- what each target does, and what a client sees of it ---------------------------------------------------------------

TARGETS = {
    # target, by family: outcome, errno, ICMP type and code
    ("DROP", 4): ("dropped", "ETIMEDOUT", None),
    ("REJECT", 4): ("rejected-icmp", "ECONNREFUSED", (3, 3)),
    ("REJECT --reject-with icmp-net-unreachable", 4): ("rejected-icmp", "ENETUNREACH", (3, 0)),
    ("REJECT --reject-with icmp-host-unreachable", 4): ("rejected-icmp", "EHOSTUNREACH", (3, 1)),
    ("REJECT --reject-with icmp-proto-unreachable", 4): ("rejected-icmp", "ENOPROTOOPT", (3, 2)),
    ("REJECT --reject-with icmp-port-unreachable", 4): ("rejected-icmp", "ECONNREFUSED", (3, 3)),
    ("REJECT --reject-with icmp-net-prohibited", 4): ("rejected-icmp", "ENETUNREACH", (3, 9)),
    ("REJECT --reject-with icmp-host-prohibited", 4): ("rejected-icmp", "EHOSTUNREACH", (3, 10)),
    ("REJECT --reject-with icmp-admin-prohibited", 4): ("rejected-icmp", "EHOSTUNREACH", (3, 13)),
    ("REJECT --reject-with tcp-reset", 4): ("rejected-reset", "ECONNREFUSED", None),
    ("DROP", 6): ("dropped", "ETIMEDOUT", None),
    ("REJECT", 6): ("rejected-icmp", "ECONNREFUSED", (1, 4)),
    ("REJECT --reject-with icmp6-no-route", 6): ("rejected-icmp", "ENETUNREACH", (1, 0)),
    ("REJECT --reject-with icmp6-adm-prohibited", 6): ("rejected-icmp", "EACCES", (1, 1)),
    ("REJECT --reject-with icmp6-addr-unreachable", 6): ("rejected-icmp", "EHOSTUNREACH", (1, 3)),
    ("REJECT --reject-with icmp6-port-unreachable", 6): ("rejected-icmp", "ECONNREFUSED", (1, 4)),
    ("REJECT --reject-with icmp6-policy-fail", 6): ("rejected-icmp", "EACCES", (1, 5)),
    ("REJECT --reject-with icmp6-reject-route", 6): ("rejected-icmp", "EACCES", (1, 6)),
    ("REJECT --reject-with tcp-reset", 6): ("rejected-reset", "ECONNREFUSED", None),
}
FIRST_PORT = 3001


def _rules(version: int) -> str:
    """One rule for each target, each for a port of its own, in the untidy way in which people keep their rules."""
    lines = ["# Rules of a test,", "# in the order of the table.", "", "*filter", ":test - [0:0]", ""]
    for number, (target, family) in enumerate(TARGETS):
        if family == version:
            lines += [f"# {target}", f"-A test -p tcp -m tcp --dport {FIRST_PORT + number} -j {target}", ""]
    return "\n".join([*lines, "-A FORWARD -j test", "COMMIT", ""])


@pytest.fixture(scope="module")
def targets(
    street: str, make_policy: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, int], Verdict]]:
    """All of the table in one lab, side by side."""
    policy = make_policy("targets", v4=_rules(4), v6=_rules(6))
    file = tmp_path_factory.mktemp("targets") / "targets.yaml"
    file.write_text(
        f"title: T\ntopology: {street}\nvariants: {{all: {{edge: {policy}}}}}\npaths:\n"
        + "".join(
            f"  - {{from: sender, to: server, port: {FIRST_PORT + number}, ip: {version}, "
            f"expect: {{outcome: {outcome}, by: edge}}}}\n"
            for number, ((_, version), (outcome, _, _)) in enumerate(TARGETS.items())
        )
    )
    with Engine(Quiet()) as engine:
        yield dict(zip(TARGETS, engine.verdicts(load_questions(str(file))), strict=True))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target[0].split()[-1]}-ipv{target[1]}")
def test_what_a_target_does_and_what_the_client_sees_of_it(
    targets: dict[tuple[str, int], Verdict], target: tuple[str, int]
) -> None:
    outcome, errno, icmp = TARGETS[target]
    verdict = targets[target]
    assert (verdict.outcome, verdict.observation.errno) == (outcome, errno)
    assert verdict.ok, verdict.judgement.reason
    assert [(error.type, error.code) for error in verdict.evidence.icmp] == ([icmp] if icmp else [])


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target[0].split()[-1]}-ipv{target[1]}")
def test_the_rule_is_named_as_its_author_wrote_it(
    targets: dict[tuple[str, int], Verdict], target: tuple[str, int]
) -> None:
    blame = targets[target].blame
    assert blame is not None
    assert blame.file is not None
    assert blame.line is not None
    lines = Path(blame.file).read_text().splitlines()
    rules = [line for line in lines if line.startswith("-A test")]
    port = FIRST_PORT + list(TARGETS).index(target)
    assert Path(blame.file).name == f"rules.v{target[1]}"
    assert blame.rule == lines[blame.line - 1] == f"-A test -p tcp -m tcp --dport {port} -j {target[0]}"
    assert rules.index(blame.rule) + 1 == blame.rule_number
    assert (blame.node, blame.policy, blame.table, blame.chain) == ("edge", "targets", "filter", "test")
    assert blame.family == {4: "ip", 6: "ip6"}[target[1]]


# -- where a rule may stand --------------------------------------------------------------------------------------------


def blocked(lab: LabUnderTest, version: int, outcome: str = "dropped", **path: Any) -> Verdict:
    return lab.expect(outcome, by="edge", ip_version=version, **(MX | path))


def test_of_stacked_policies_the_one_that_decides_is_named(
    lab: LabFactory, street: str, make_policy: Callable[..., str]
) -> None:
    passing = make_policy(
        "passing", v4="*filter\n-A FORWARD -p tcp --dport 587 -j ACCEPT\n-A FORWARD -p udp -j ACCEPT\nCOMMIT\n"
    )
    deny = make_policy(
        "deny", v4="*filter\n-A FORWARD -p icmp -j ACCEPT\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n"
    )
    verdict = blocked(lab(street, {"edge": [passing, deny]}), 4)
    assert verdict.blame is not None
    assert (verdict.blame.policy, verdict.blame.line, verdict.blame.rule_number) == ("deny", 3, 4)
    assert verdict.question.config.policy_names == {"edge": ("passing", "deny")}


@pytest.mark.parametrize("version", [4, 6])
def test_a_chain_that_drops_what_no_rule_lets_through_is_named_by_its_policy(
    lab: LabFactory, street: str, make_policy: Callable[..., str], version: int
) -> None:
    rules = "# Default deny.\n*filter\n:FORWARD DROP [0:0]\n-A FORWARD -p udp -j ACCEPT\nCOMMIT\n"
    verdict = blocked(lab(street, {"edge": make_policy("default-deny", v4=rules, v6=rules)}), version)
    assert verdict.blame is not None
    assert (verdict.blame.rule_number, verdict.blame.rule, verdict.blame.line) == (None, ":FORWARD DROP", 3)
    assert (verdict.blame.chain, verdict.blame.family) == ("FORWARD", {4: "ip", 6: "ip6"}[version])


@pytest.mark.parametrize(
    ("table", "chain"),
    [("raw", "PREROUTING"), ("mangle", "FORWARD"), ("mangle", "POSTROUTING"), ("security", "FORWARD")],
)
def test_a_rule_in_any_table_is_found(
    lab: LabFactory, street: str, make_policy: Callable[..., str], table: str, chain: str
) -> None:
    rules = f"*{table}\n-A {chain} -p tcp --dport 25 -j DROP\nCOMMIT\n"
    verdict = blocked(lab(street, {"edge": make_policy(f"{table}-{chain}", v4=rules)}), 4)
    assert verdict.blame is not None
    assert (verdict.blame.table, verdict.blame.chain, verdict.blame.rule_number) == (table, chain, 1)


def test_a_rule_for_several_addresses_keeps_the_numbers_behind_it_right(
    lab: LabFactory, street: str, make_policy: Callable[..., str]
) -> None:
    rules = "*filter\n-A FORWARD -s 203.0.113.77,203.0.113.78 -j DROP\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n"
    verdict = blocked(lab(street, {"edge": make_policy("several", v4=rules)}), 4)
    assert verdict.blame is not None
    assert (verdict.blame.line, verdict.blame.rule_number) == (3, 3)


def test_a_rule_against_the_answer_is_found_too(lab: LabFactory, street: str, make_policy: Callable[..., str]) -> None:
    rules = "*filter\n-A FORWARD -p tcp --sport 25 -j DROP\nCOMMIT\n"
    verdict = blocked(lab(street, {"edge": make_policy("inbound", v4=rules, v6=rules)}), 4)
    assert verdict.evidence.decisions[0].packet.startswith("SYN-ACK 192.0.2.25:25 > 198.51.100.10:")


@pytest.mark.parametrize("version", [4, 6])
def test_a_chain_two_jumps_away_is_found(
    lab: LabFactory, street: str, make_policy: Callable[..., str], version: int
) -> None:
    suffix = {4: "", 6: "6"}[version]
    rules = (
        "*filter\n:outer - [0:0]\n:inner - [0:0]\n-A FORWARD -p tcp --dport 25 -j outer\n"
        f"-A outer -m set --match-set customers{suffix} src -g inner\n"
        "-A inner -d 192.0.2.99 -j RETURN\n-A inner -j DROP\nCOMMIT\n"
    ).replace("192.0.2.99", {4: "192.0.2.99", 6: "2001:db8::99"}[version])
    policy = make_policy("jumps", sets=("customers",), **{f"v{version}": rules})
    verdict = blocked(lab(street, {"edge": policy}), version)
    assert verdict.blame is not None
    assert (verdict.blame.chain, verdict.blame.rule_number, verdict.blame.line) == ("inner", 2, 7)


# -- where the packet had another address ------------------------------------------------------------------------------


def test_behind_nat_the_rule_saw_the_address_that_the_customer_was_given(lab: LabFactory) -> None:
    isp = lab("residential_isp", {"isp-edge": "op25b"})
    for source, address in (("home-server", "198.51.100.131"), ("cgn-pc", "100.64.0.3")):
        verdict = isp.expect("dropped", by="isp-edge", source=source, to="mx:example.net", ip_version=4)
        assert verdict.evidence.decisions[0].packet.startswith(f"SYN {address}:")


def test_behind_two_translations_the_rule_saw_the_clouds_public_address(lab: LabFactory) -> None:
    cloud = lab("cloud_vpc", {"cloud-edge": "aws"})
    verdict = cloud.expect("dropped", by="cloud-edge", source="private-1", to="mx:example.net", ip_version=4)
    assert verdict.evidence.decisions[0].packet.startswith("SYN 203.0.113.5:")


def test_beyond_the_cgn_the_rule_sees_the_shared_address(lab: LabFactory) -> None:
    isp = lab("residential_isp", {"isp-border": "op25b"})
    verdict = isp.expect("dropped", by="isp-border", source="cgn-pc", to="mx:example.net", ip_version=4)
    assert verdict.evidence.decisions[0].packet.startswith("SYN 198.51.100.3")


# -- where no rule is to blame -----------------------------------------------------------------------------------------


def test_a_port_where_nothing_listens_is_closed_and_no_rules_fault(lab: LabFactory, street: str) -> None:
    verdict = lab(street, {"edge": "none"}).expect("closed", **MX | {"port": 2525})
    assert verdict.blame is None
    assert verdict.evidence.decisions == []


def test_an_address_without_a_route_is_unreachable_and_no_rules_fault(lab: LabFactory, street: str) -> None:
    verdict = lab(street).expect("unreachable", source="sender", to="2001:db8:dead::1", ip_version=6)
    assert verdict.blame is None
    assert verdict.observation.errno == "ENETUNREACH"


def test_silence_without_a_rule_is_no_block(own_lab: LabFactory, street: str) -> None:
    quiet = own_lab(street)
    assert quiet.run("far", "ip", "route", "add", "blackhole", "192.0.2.29")["returncode"] == 0
    verdict = quiet.send(source="sender", to="mx:example.org", recipient="recipient@example.org", ip_version=4)
    assert (verdict.outcome, verdict.mechanism) == (Outcome.UNREACHABLE, Mechanism.NO_ROUTE)
    assert verdict.evidence.ended
    assert verdict.evidence.ended.packet.at == "far/eth0"


@pytest.mark.parametrize("version", [4, 6])
def test_where_the_kernel_dropped_and_the_client_got_through_the_verdict_says_so(
    lab: LabFactory, street: str, make_policy: Callable[..., str], version: int
) -> None:
    """The first SYN of an address is dropped, and its retransmission passes."""
    match = "-A FORWARD -p tcp --syn --dport 25 -m recent --name first"
    rules = f"*filter\n{match} --rcheck -j ACCEPT\n{match} --set -j DROP\nCOMMIT\n"
    verdict = lab(street, {"edge": make_policy("flaky", v4=rules, v6=rules)}).send(**MX, ip_version=version)
    assert verdict.outcome is Outcome.DELIVERED
    assert not verdict.ok
    assert verdict.judgement.disagreement == "the client reached stage done, and the trace has drop on edge"


def test_a_path_that_is_blocked_without_the_policy_too_is_not_blocked_by_the_policy(
    own_lab: LabFactory, street: str, make_policy: Callable[..., str]
) -> None:
    deny = make_policy("deny25", v4="*filter\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n")
    broken = own_lab(street)
    assert broken.run("far", "ip", "route", "add", "blackhole", "192.0.2.25")["returncode"] == 0
    verdict = own_lab(street, {"edge": deny}).send(source="sender", to="192.0.2.25", ip_version=4)
    assert verdict.outcome is Outcome.ERROR
    assert verdict.judgement.control is not None
    assert not verdict.judgement.control.through
    assert verdict.judgement.reason == (
        "without the policy the path does not get through either (unreachable): blocked by the policy is not proven"
    )


# -- rules that iptables refuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "program"), [("rules.v4", "iptables-restore"), ("rules.v6", "ip6tables-restore")])
@pytest.mark.parametrize(
    ("table", "rule", "words"),
    [
        ("filter", "-A FORWARD -p tcp --dport 25 -j DROPP", "DROPP"),
        ("filter", "-A FORWARD -p tcp --dport smpt -j DROP", "smpt"),
        ("filter", "-A FORWARD -s 198.51.100.0/99 -j DROP", "mask|network"),
        ("filter", "-A FORWARD -m seet -j DROP", "seet"),
        ("filter", "-A FORWARD --no-such-option -j DROP", "no-such-option"),
        ("filter", "-A FORWARD -p tcp -j REJECT --reject-with icmp-go-away", "icmp-go-away"),
        ("nat", "-A PREROUTING -p tcp -j REJECT", "failed"),
        ("filter", "-A FORWARD -d no-such-host.example.net -j DROP", "restore on edge says.*no-such-host"),
    ],
    ids=["target", "port", "network", "match", "option", "reject", "table", "host"],
)
def test_a_rule_that_iptables_refuses_is_named_by_file_and_line_in_its_own_words(
    engine: Engine,
    street: str,
    make_policy: Callable[..., str],
    file: str,
    program: str,
    table: str,
    rule: str,
    words: str,
) -> None:
    rules = f"*{table}\n# This one is fine.\n-A OUTPUT -p tcp --dport 25 -j ACCEPT\n\n{rule}\nCOMMIT\n"
    policy = make_policy("refused", **{file.replace("rules.", ""): rules})
    with pytest.raises(InputError) as refused:
        LabFactory(engine)(street, {"edge": policy}).up.attempt(PathSpec(**MX))
    assert str(refused.value).startswith(f"{policy}/{file}:5: ")
    assert re.search(words, refused.value.what)
    assert program in str(refused.value) or "iptables itself takes" in refused.value.allowed


# -- who took the connection, and who led it there ---------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("policy", "security", "outcome", "place"),
    [
        ("redirect", "none", "intercepted", ("redirect", 2)),
        ("tarpit", "none", "intercepted", ("PREROUTING", 1)),
        ("asa-fixup", "starttls", "tampered", ("PREROUTING", 1)),
        ("asa-fixup-inline", "starttls", "tampered", ("FORWARD", 1)),
    ],
)
def test_the_rule_that_leads_a_session_elsewhere_is_blamed(
    lab: LabFactory, policy: str, security: str, outcome: str, place: tuple[str, int], version: int
) -> None:
    isp = lab("residential_isp", policies={"isp-edge": policy})
    path = {"source": "home-server", "to": "mx:example.net", "security": security, "ip_version": version}
    blame = isp.expect(outcome, by="isp-edge", **path).blame
    assert blame is not None
    assert (blame.policy, (blame.chain, blame.rule_number)) == (policy, place)
    assert blame.file is not None and blame.file.endswith(f"/{policy}/rules.v{version}")
    line = Path(blame.file).read_text().splitlines()[(blame.line or 0) - 1]
    assert line == blame.rule


def test_a_forwarded_port_of_the_network_itself_is_nobodys_interception(lab: LabFactory) -> None:
    isp = lab("residential_isp")
    inbound = isp.expect("delivered", source="outside", to="mx:home.example", recipient="o@home.example", ip_version=4)
    assert inbound.blame is None
    assert not inbound.evidence.diverted


def test_a_limit_that_counts_all_packets_is_blamed_where_it_cuts_a_session(
    lab: LabFactory, make_policy: Callable[..., str]
) -> None:
    limit = "-m hashlimit --hashlimit-name l --hashlimit-mode srcip --hashlimit-above 1/hour --hashlimit-burst 1"
    rules = f"*filter\n-A FORWARD -p tcp -m tcp --dport 25 {limit} -j DROP\nCOMMIT\n"
    cut = lab("residential_isp", policies={"isp-edge": make_policy("every-packet", v4=rules)})
    found = cut.expect("throttled", by="isp-edge", source="home-server", to="mx:example.net", ip_version=4)
    assert found.evidence.decisions[-1].in_session
