from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from port25lab.errors import InputError
from port25lab.model.policy import Policy
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
        (folder / f"rules.{family}").write_bytes(text.encode())
    return folder


def test_a_rules_file_keeps_every_byte(tmp_path: Path) -> None:
    content = b"# caf\xe9\n*filter\n:own - [0:0]\n  -A FORWARD -j own \n-A own -m comment --comment \xe9\nCOMMIT\n"
    folder = make(tmp_path / "mine")
    (folder / "rules.v4").write_bytes(content)
    policy = load_policy(str(folder))
    (file,) = policy.rules_files
    assert (file.family, file.file, file.content) == ("ip", folder / "rules.v4", content)
    assert file.chains == (("filter", "own"),)
    assert Policy.model_validate(json.loads(json.dumps(policy.model_dump(mode="json")))) == policy


def test_a_policy_tells_whose_rules_it_has(tmp_path: Path) -> None:
    folder = str(make(tmp_path / "mine", v4="*filter\nCOMMIT\n"))
    assert load_policy(folder).origin == "user"
    assert load_policy(folder, origin="network").origin == "network"


@pytest.mark.parametrize(
    "rules",
    [
        "*filter\n  -A FORWARD -j DROP\nCOMMIT\n",
        "*filter\n-N own\n-I FORWARD -j own\n-P FORWARD DROP\n-R FORWARD 1 -j DROP\n-F own\n-X own\nCOMMIT\n",
        "*filter\n-A FORWARD --dest 192.0.2.1,192.0.2.2 -p tcp --dport smtp -j DROP\nCOMMIT\n",
        "*filter\n-A FORWARD -d mx.example.net -j DROP\nCOMMIT\n",
        "*filter\nCOMMIT\n*filter\n:own - [0:0]\n:own - [0:0]\nCOMMIT\n",
        "*filter\n-A FORWARD -6 -j DROP\nCOMMIT\n",
        '*filter\n-A FORWARD -m comment --comment "a\nCOMMIT\n',
    ],
    ids=["indented", "commands", "abbreviated", "host-name", "twice", "of-the-other-family", "open-quotation"],
)
def test_what_iptables_restore_takes_is_taken(tmp_path: Path, rules: str) -> None:
    assert load_policy(str(make(tmp_path / "mine", v4=rules))).rules_files


def test_ipv6_rules_say_the_set_with_a_6(tmp_path: Path) -> None:
    rules = "*filter\n-A FORWARD -m set ! --match-set relays6 dst -j DROP\nCOMMIT\n"
    (file,) = load_policy(str(make(tmp_path / "mine", v6=rules))).rules_files
    assert file.family == "ip6"


def test_a_policy_is_read_again_when_it_changes(tmp_path: Path) -> None:
    folder = make(tmp_path / "mine", v4="*filter\nCOMMIT\n")
    assert load_policy(str(folder)) is load_policy(str(folder))
    (folder / "policy.yaml").write_text("title: Another\n")
    os.utime(folder / "policy.yaml", ns=(1, 1))
    assert load_policy(str(folder)).title == "Another"


TAKEN = "what iptables-restore takes"


@pytest.mark.parametrize(
    ("rules", "error"),
    [
        ("*filter\n-A FORWARD -j DROP\n", ":3: COMMIT expected; COMMIT behind the last rule of filter"),
        ("-A FORWARD -j DROP\n", f":1: '-A' outside of a table; {TAKEN}"),
        ("\ufeff*filter\nCOMMIT\n", f":1: '\\ufeff*filter' outside of a table; {TAKEN}"),
        ("*filtre\nCOMMIT\n", f":1: table name 'filtre' invalid; {TAKEN}"),
        ("*filter\n-A onw -j DROP\nCOMMIT\n", f":2: No chain/target/match by that name; {TAKEN}"),
        ("*filter\n:FORWARD REJECT [0:0]\nCOMMIT\n", f":2: Bad policy name; {TAKEN}"),
        ("*filter\n-A FORWARD --dprt 25\nCOMMIT\n", f':2: unknown option "--dprt"; {TAKEN}'),
        ("*filter\r\nCOMMIT\r\n", ":1: the line ends with a carriage return; line ends of Unix (LF)"),
        (
            "*filter\n-A FORWARD -m set --match-set relay dst -j DROP\nCOMMIT\n",
            ":2:31: the set 'relay' is not one of the policy's; "
            "the sets in policy.yaml: did you mean 'relays'? known: relays",
        ),
        (
            '*filter\n-A FORWARD -m comment --comment "no --match-set relays" -j SET --add-set rely src\nCOMMIT\n',
            ":2:74: the set 'rely' is not one of the policy's; "
            "the sets in policy.yaml: did you mean 'relays'? known: relays",
        ),
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
    assert str(caught.value) == (
        f"{tmp_path}: the folder of a policy has no policy.yaml; one with a line `title: TEXT` at least"
    )


def test_native_nftables_rules_are_refused_and_not_passed_over(tmp_path: Path) -> None:
    folder = make(tmp_path / "mine", v4="*filter\nCOMMIT\n")
    (folder / "ruleset.nft").write_text("table inet x {}\n")
    with pytest.raises(InputError) as caught:
        load_policy(str(folder))
    assert str(caught.value) == (
        f"{folder}/ruleset.nft: native nftables rulesets are not supported yet; rules.v4 and rules.v6"
    )
