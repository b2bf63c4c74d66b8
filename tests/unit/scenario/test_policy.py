from __future__ import annotations

import os
from pathlib import Path

import pytest

from port25lab.errors import InputError
from port25lab.model.policy import Policy, RuleText
from port25lab.scenario import catalogue
from port25lab.scenario.policy import load_policy


@pytest.mark.parametrize("name", catalogue.names("policies"))
def test_every_policy_of_the_catalogue_is_sound_and_survives_the_socket(name: str) -> None:
    policy = load_policy(name)
    assert policy.name == name
    assert policy.title
    assert policy.source
    assert Policy.model_validate(policy.model_dump(mode="json")) == policy


def make(folder: Path, head: str = "title: T\nsets: [relays]\n", **rules: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(head)
    for family, text in rules.items():
        (folder / f"rules.{family}").write_text(text)
    return folder


def test_rules_keep_their_text_and_their_place(tmp_path: Path) -> None:
    text = (
        "# about\n*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [12:34]\n:own - [0:0]\n\n"
        '[5:60] -A FORWARD -p tcp -j own \n-A own -m comment --comment "a \\"b c" -j DROP\nCOMMIT\n'
        "*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n"
    )
    policy = load_policy(str(make(tmp_path / "mine", v4=text)))
    (ruleset,) = policy.rulesets
    file = tmp_path / "mine/rules.v4"
    assert (policy.name, policy.sets, ruleset.family, ruleset.file, ruleset.text) == (
        "mine",
        ("relays",),
        "ip",
        file,
        text,
    )
    assert ruleset.rules == (
        RuleText(table="filter", chain="FORWARD", text="-A FORWARD -p tcp -j own", file=file, line=7),
        RuleText(table="filter", chain="own", text='-A own -m comment --comment "a \\"b c" -j DROP', file=file, line=8),
        RuleText(table="nat", chain="POSTROUTING", text="-A POSTROUTING -j MASQUERADE", file=file, line=11),
    )
    assert ruleset.chain_policies == (
        RuleText(table="filter", chain="FORWARD", text=":FORWARD DROP", file=file, line=4),
    )
    assert ruleset.own_chains == {("filter", "own")}


def test_a_rule_for_several_addresses_counts_as_the_kernel_counts_it(tmp_path: Path) -> None:
    text = "*filter\n-A FORWARD -s 10.0.0.1,10.0.0.2 -d 10.1.0.1,10.1.0.2,10.1.0.3 -j DROP\nCOMMIT\n"
    (ruleset,) = load_policy(str(make(tmp_path / "mine", v4=text))).rulesets
    assert [rule.line for rule in ruleset.rules] == [2] * 6


def test_ipv6_rules_say_the_set_with_a_6(tmp_path: Path) -> None:
    rules = "*filter\n-A FORWARD -m set ! --match-set relays6 dst -j DROP\nCOMMIT\n"
    (ruleset,) = load_policy(str(make(tmp_path / "mine", v6=rules))).rulesets
    assert ruleset.family == "ip6"


def test_a_policy_is_read_again_when_it_changes(tmp_path: Path) -> None:
    folder = make(tmp_path / "mine", v4="*filter\nCOMMIT\n")
    assert load_policy(str(folder)) is load_policy(str(folder))
    (folder / "policy.yaml").write_text("title: Another\n")
    os.utime(folder / "policy.yaml", ns=(1, 1))
    assert load_policy(str(folder)).title == "Another"


@pytest.mark.parametrize(
    ("rules", "error"),
    [
        (
            "*filter\n-I FORWARD -j DROP\nCOMMIT\n",
            ":2:1: '-I' is not understood; "
            "*TABLE, :CHAIN POLICY [n:n], -A CHAIN …, COMMIT, and comments with # in column 1",
        ),
        (
            "*filter\n -P FORWARD DROP\nCOMMIT\n",
            ":2:2: '-P' is not understood; "
            "*TABLE, :CHAIN POLICY [n:n], -A CHAIN …, COMMIT, and comments with # in column 1",
        ),
        (
            "*filter\n  \nCOMMIT\n",
            ":2:1: a line of blanks is not understood; "
            "*TABLE, :CHAIN POLICY [n:n], -A CHAIN …, COMMIT, and comments with # in column 1",
        ),
        ("*filter\n-A FORWARD -j DROP\n", ":1:1: the table filter has no COMMIT; COMMIT after its last rule"),
        ("*filter\n*nat\nCOMMIT\n", ":2:1: the table filter has no COMMIT yet; COMMIT before the next table"),
        ("-A FORWARD -j DROP\n", ":1:1: a rule outside of a table; *TABLE first, such as *filter"),
        (":own - [0:0]\n", ":1:1: a chain outside of a table; *TABLE first, such as *filter"),
        ("*filter\nCOMMIT\nCOMMIT\n", ":3:1: COMMIT outside of a table; *TABLE first, such as *filter"),
        (
            "*filtre\nCOMMIT\n",
            ":1:2: unknown table 'filtre'; did you mean 'filter'? known: filter, mangle, nat, raw, security",
        ),
        (
            "*filter\n:own - [0:0]\n-A onw -j DROP\nCOMMIT\n",
            ":3:4: the chain 'onw' is not declared in filter; "
            ":onw - [0:0] before the rule, or did you mean 'own'? known: FORWARD, INPUT, OUTPUT, own",
        ),
        (
            "*filter\n[1:2] -A PREROUTING -j DROP\nCOMMIT\n",
            ":2:10: the chain 'PREROUTING' is not declared in filter; "
            ":PREROUTING - [0:0] before the rule, or known: FORWARD, INPUT, OUTPUT",
        ),
        (
            "*filter\n:FORWARD REJECT [0:0]\nCOMMIT\n",
            ":2:10: policy 'REJECT' for the builtin chain FORWARD; ACCEPT or DROP",
        ),
        ("*filter\n:own DROP\nCOMMIT\n", ":2:6: policy 'DROP' for the chain own, which is not builtin in filter; -"),
        (
            "*filter\n-A FORWARD -m set --match-set relay dst -j DROP\nCOMMIT\n",
            ":2:31: the set 'relay' is not one of the policy's; "
            "the sets in policy.yaml: did you mean 'relays'? known: relays",
        ),
        (
            "*filter\n-A FORWARD -m set --match-set\nCOMMIT\n",
            ":2:19: the set '' is not one of the policy's; the sets in policy.yaml: known: relays",
        ),
        ('*filter\n-A FORWARD -m comment --comment "a\nCOMMIT\n', ':2:33: a quotation mark without its partner; "…"'),
        ("*filter\n-A FORWARD -6 -j DROP\nCOMMIT\n", ":2:12: -6 in a rule; rules.v4 and rules.v6"),
    ],
)
def test_bad_rules_are_refused_with_their_place(tmp_path: Path, rules: str, error: str) -> None:
    folder = make(tmp_path / "mine", v4=rules)
    with pytest.raises(InputError) as caught:
        load_policy(str(folder))
    assert str(caught.value) == f"{folder}/rules.v4{error}"


def test_an_ipv6_rule_with_the_ipv4_set(tmp_path: Path) -> None:
    folder = make(tmp_path / "mine", v6="*filter\n-A FORWARD -m set --match-set relays dst -j DROP\nCOMMIT\n")
    with pytest.raises(InputError) as caught:
        load_policy(str(folder))
    assert str(caught.value) == (
        f"{folder}/rules.v6:2:31: the set 'relays' is not one of the policy's; "
        "the sets in policy.yaml, with a 6 behind: did you mean 'relays6'? known: relays6"
    )


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (
            "title: T\nset: []\n",
            ":2:1: unknown key 'set'; did you mean 'sets'? known: description, services, sets, source, title, watch",
        ),
        ("sets: []\n", ":1:1: the key 'title' is missing; it cannot be left out"),
        ("title: ''\n", ":1:8: title is ''; text that is not empty"),
        ("title: T\nsets: [a b]\n", ":2:8: 'a b' is no name for a set; 1 to 30 letters, digits and _ . -"),
        ("title: T\nsets: [a, b, a]\n", ":2:14: the set 'a' is named twice; each set once"),
        ("title: T\nsets: relays\n", ":2:7: sets is 'relays'; a list"),
    ],
)
def test_bad_heads_are_refused_with_their_place(tmp_path: Path, head: str, error: str) -> None:
    folder = make(tmp_path / "mine", head, v4="*filter\nCOMMIT\n")
    with pytest.raises(InputError) as caught:
        load_policy(str(folder))
    assert str(caught.value) == f"{folder}/policy.yaml{error}"


def test_a_policy_needs_rules(tmp_path: Path) -> None:
    folder = make(tmp_path / "mine")
    with pytest.raises(InputError) as caught:
        load_policy(str(folder))
    assert str(caught.value) == f"{folder}: the policy has no rules; rules.v4, rules.v6 or both"


def test_a_folder_without_policy_yaml(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_policy(str(tmp_path))
    assert str(caught.value) == f"{tmp_path}/policy.yaml: cannot be read: No such file or directory"


def test_native_nftables_rules_are_refused_and_not_passed_over(tmp_path: Path) -> None:
    folder = make(tmp_path / "mine", v4="*filter\nCOMMIT\n")
    (folder / "ruleset.nft").write_text("table inet x {}\n")
    with pytest.raises(InputError) as caught:
        load_policy(str(folder))
    assert str(caught.value) == (
        f"{folder}/ruleset.nft: native nftables rulesets are not supported yet; rules.v4 and rules.v6"
    )
