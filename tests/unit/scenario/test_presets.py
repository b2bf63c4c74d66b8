"""The presets of the catalogue: all there, sound, for both IP versions, and each shown by a scenario."""

from __future__ import annotations

import pytest

from port25lab.rules import decode, parse
from port25lab.scenario import catalogue
from port25lab.scenario.policy import load_policy
from port25lab.scenario.questions import load_questions
from port25lab.scenario.topology import load_topology

PRESETS = [
    "op25b",
    "op25b-mobile",
    "op25b-all",
    "op25b-v4only",
    "op25b-syn",
    "op25b-sport",
    "op25b-overblock",
    "op25b-in",
    "op25b-strict",
    "ip25b",
    "ip25b-receiver",
    "cox",
    "reactive",
    "cpe-allowlist",
    "redirect",
    "aws",
    "aws-throttle",
    "azure",
    "gcp",
    "linode",
    "digitalocean",
    "hetzner",
    "hotel-nat",
    "hotel-captive",
    "asa-fixup",
]

IPV4_ALONE = {
    "op25b-v4only": "that is its mistake",
    "hotel-nat": "IPv6 is routed, not translated",
    "cpe-nat": "IPv6 is routed, not translated",
    "cpe-forward-25": "IPv6 needs no forwarding of ports",
    "cpe-dnat-587": "IPv6 needs no forwarding of ports",
    "cgn-nat": "IPv6 is routed, not translated",
    "cloud-igw": "IPv6 is routed, not translated",
    "cloud-nat-gw": "IPv6 goes by the internet gateway",
}


def test_every_preset_is_there() -> None:
    assert set(PRESETS) <= set(catalogue.names("policies"))


@pytest.mark.parametrize("name", catalogue.names("policies"))
def test_a_policy_says_what_it_does_and_where_the_practice_comes_from(name: str) -> None:
    policy = load_policy(name)
    assert policy.title and policy.description and policy.source


@pytest.mark.parametrize("name", catalogue.names("policies"))
def test_a_policy_has_rules_for_both_ip_versions(name: str) -> None:
    policy = load_policy(name)
    families = {file.family for file in policy.rules_files}
    assert families == ({"ip"} if name in IPV4_ALONE else {"ip", "ip6"}) or (policy.services and not families)


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in IPV4_ALONE and "nat" not in name])
def test_the_rules_for_both_ip_versions_say_the_same(name: str) -> None:
    """As many rules, but for exempted private ranges, which IPv6 has one of."""
    rulesets = [parse(decode(file.content), file.family) for file in load_policy(name).rules_files]
    counts = {sum(rule.header.option("destination") is None for rule in ruleset.rules()) for ruleset in rulesets}
    assert len(counts) <= 1


def test_every_policy_is_shown_by_a_scenario() -> None:
    shown = {
        name
        for scenario in catalogue.all_names("scenarios")
        for question in load_questions(scenario)
        for names in question.config.policy_names.values()
        for name in names
    }
    of_networks = {
        name
        for topology in catalogue.names("topologies")
        for node in load_topology(topology).nodes.values()
        for name in node.policies
    }
    assert set(catalogue.names("policies")) - shown - of_networks == set()
