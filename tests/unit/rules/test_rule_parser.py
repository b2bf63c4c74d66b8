"""What a file becomes: rules with their places, typed values, canonical text, and errors with their line."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from port25lab.errors import InputError
from port25lab.rules import Place, Rule, Ruleset, decode, parse, parse_listing
from port25lab.rules.addresses import MaskedAddress
from port25lab.rules.kinds.system import SetTest
from port25lab.rules.values import Masked, Range


def rules_of(text: str, chain: str = "FORWARD", table: str = "filter", family: str = "ip") -> tuple[Rule, ...]:
    return parse(text, family, file="f").tables[table].chains[chain].rules  # type: ignore[arg-type]


def rule(text: str, family: str = "ip") -> Rule:
    (one,) = rules_of(f"*filter\n-A FORWARD {text}\nCOMMIT\n", family=family)
    return one


def test_a_rule_has_its_place_its_text_and_its_number() -> None:
    first, second = rules_of(
        "*filter\n# x\n\n  [3:4] -A FORWARD -j LOG\n-A FORWARD  -j DROP \nCOMMIT\n".replace("  [", "[")
    )
    assert (first.place, first.text, first.number, first.counters) == (Place("f", 4), "-A FORWARD -j LOG", 1, (3, 4))
    assert (second.place, second.text, second.number) == (Place("f", 5), "-A FORWARD  -j DROP", 2)
    assert str(second) == "-A FORWARD -j DROP"


def test_values_are_typed() -> None:
    one = rule(
        "-s 10.0.0.0/8 ! -d 10.11.12.13/255.0.255.0 -i eth+ -p tcp --dport 25:26 ! --syn -m set --match-set a src,dst"
    )
    header = one.header
    assert header.option("source").value == IPv4Network("10.0.0.0/8")  # type: ignore[union-attr]
    destination = header.option("destination")
    assert destination is not None
    assert destination.negated
    assert destination.value == MaskedAddress(4, 0x0A000C00, 0xFF00FF00)
    assert header.option("protocol").value == 6  # type: ignore[union-attr]
    tcp, named = one.matches
    assert tcp.option("dport").value == Range(25, 26)  # type: ignore[union-attr]
    flags = tcp.option("tcp-flags")
    assert flags is not None
    assert (flags.value, flags.negated) == (Masked(2, 23), True)
    assert named.option("match-set").value == SetTest("a", ("src", "dst"))  # type: ignore[union-attr]


def test_comments_are_apart_from_what_a_rule_does() -> None:
    one = rule('-m comment --comment "-m limit was here" -j DROP')
    assert one.comments == ("-m limit was here",)
    assert one.matches == ()
    assert str(one) == '-A FORWARD -m comment --comment "-m limit was here" -j DROP'


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("-p 6 --dport smtp -j DROP", "-p tcp -m tcp --dport 25 -j DROP"),
        ("-j DROP -p tcp -s 1.2.3.4", "-s 1.2.3.4/32 -p tcp -j DROP"),
        ("--dest 1.2.3.0/24 -j DROP", "-d 1.2.3.0/24 -j DROP"),
        ("-p tcp --syn", "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"),
        ("-j REJECT", "-j REJECT --reject-with icmp-port-unreachable"),
        ("-p tcp -j REJECT --reject-with tcp-rst", "-p tcp -j REJECT --reject-with tcp-reset"),
        ("-m limit --limit 5/m -j LOG --log-level warn", "-m limit --limit 5/min -j LOG"),
        ("-j MARK --set-mark 5/6", "-j MARK --set-xmark 0x5/0x7"),
        ("-m connlimit ! --connlimit-upto 3", "-m connlimit --connlimit-above 3 --connlimit-mask 32 --connlimit-saddr"),
        ("-p tcp --dport 25 -m limit -m tcp --sport 9", "-p tcp -m tcp --sport 9 --dport 25 -m limit --limit 3/hour"),
        ("-p tcp -m tcp --sport :", "-p tcp -m tcp"),
        ("-p tcp -m tcp ! --sport :", "-p tcp -m tcp ! --sport 0:65535"),
        ("-i + -s 0/0 -p all", ""),
        ('-m comment --comment it\'s', '-m comment --comment "it\\\'s"'),
    ],
)  # fmt: skip
def test_a_rule_is_printed_as_the_kernel_lists_it(written: str, canonical: str) -> None:
    assert rule(written).canonical == canonical


def test_ipv6_has_forms_of_its_own() -> None:
    assert rule("-p icmpv6 --icmpv6-type ping -j REJECT", "ip6").canonical == (
        "-p ipv6-icmp -m icmp6 --icmpv6-type 128 -j REJECT --reject-with icmp6-port-unreachable"
    )
    assert rule("-s 2001:DB8::1 -m connlimit --connlimit-above 1", "ip6").canonical == (
        "-s 2001:db8::1/128 -m connlimit --connlimit-above 1 --connlimit-mask 128 --connlimit-saddr"
    )


def test_address_lists_become_rules_in_the_kernels_order() -> None:
    found = rules_of("*filter\n-A FORWARD -s 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4\nCOMMIT\n")
    assert [one.canonical for one in found] == [
        "-s 1.1.1.1/32 -d 3.3.3.3/32",
        "-s 1.1.1.1/32 -d 4.4.4.4/32",
        "-s 2.2.2.2/32 -d 3.3.3.3/32",
        "-s 2.2.2.2/32 -d 4.4.4.4/32",
    ]
    assert {one.place.line for one in found} == {2}
    assert [one.number for one in found] == [1, 2, 3, 4]


def test_host_names_are_looked_up_as_the_caller_says() -> None:
    names = {"mx.lab": [0x0A000001, 0x0A000002]}
    text = "*filter\n-A FORWARD -s mx.lab -d mx.lab/24 -m conntrack --ctorigdst mx.lab -j DROP\nCOMMIT\n"
    ruleset = parse(text, "ip", resolver=lambda name, version: names[name] if version == 4 else [])
    assert [one.canonical for one in ruleset.rules()] == [
        f"-s 10.0.0.{source}/32 -d 10.0.0.0/24 -m conntrack --ctorigdst 10.0.0.1 -j DROP"
        for source in (1, 2)
        for _ in range(2)
    ]
    with pytest.raises(InputError, match="not found"):
        parse(text, "ip", resolver=lambda name, version: [])


def test_commands_change_the_chain() -> None:
    text = (
        "*filter\n:Q - [0:0]\n-A FORWARD -j DROP\n-I FORWARD -s 1.1.1.1,2.2.2.2 -j LOG\n-I FORWARD 2 -j Q\n"
        "-R FORWARD 4 -j ACCEPT\n"
        "-D FORWARD -s 1.1.1.1 -j LOG\n-P INPUT DROP\n-N R\n-E R S\n-A S\n-F S\n-X S\nCOMMIT\n"
    )
    ruleset = parse(text, "ip")
    assert [(str(one), one.place.line) for one in ruleset.rules()] == [
        ("-A FORWARD -s 2.2.2.2/32 -j LOG", 4),
        ("-A FORWARD -j Q", 5),
        ("-A FORWARD -j ACCEPT", 6),
    ]
    assert ruleset.tables["filter"].chains["INPUT"].policy == "DROP"
    assert list(ruleset.tables["filter"].chains) == ["INPUT", "FORWARD", "OUTPUT", "Q"]


def test_each_chain_keeps_its_policy_and_the_last_one_that_is_set() -> None:
    text = "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT DROP [0:0]\n-P OUTPUT ACCEPT\nCOMMIT\n"
    chains = parse(text, "ip").tables["filter"].chains
    assert {name: chain.policy for name, chain in chains.items()} == {
        "INPUT": "DROP",
        "FORWARD": "DROP",
        "OUTPUT": "ACCEPT",
    }
    (forward,) = [chain for chain in chains.values() if chain.name == "FORWARD"]
    assert forward.place is not None
    assert forward.place.line == 3


def test_a_chain_under_another_name_takes_its_jumps_along() -> None:
    ruleset = parse("*filter\n:Q - [0:0]\n-A Q -j LOG\n-A FORWARD -g Q\n-E Q R\nCOMMIT\n", "ip")
    assert [str(one) for one in ruleset.rules()] == ["-A FORWARD -g R", "-A R -j LOG"]


def test_noflush_keeps_what_is_there_and_empties_a_chain_that_is_declared_again() -> None:
    before = parse("*filter\n:FORWARD DROP [0:0]\n:Q - [0:0]\n-A Q -j LOG\n-A FORWARD -j Q\nCOMMIT\n", "ip", file="a")
    text = "*filter\n:Q - [0:0]\n-A FORWARD -j ACCEPT\nCOMMIT\n"
    kept = parse(text, "ip", file="b", onto=before, noflush=True).tables["filter"].chains
    assert [(one.canonical, str(one.place)) for one in kept["FORWARD"].rules] == [("-j Q", "a:5"), ("-j ACCEPT", "b:3")]
    assert (kept["FORWARD"].policy, kept["Q"].rules) == ("DROP", ())
    flushed = parse(text, "ip", onto=before).tables["filter"].chains
    assert [one.canonical for one in flushed["FORWARD"].rules] == ["-j ACCEPT"]
    assert flushed["FORWARD"].policy == "ACCEPT"


def test_an_unknown_module_keeps_its_words() -> None:
    one = rule("-p tcp -m ndpi --proto smtp -m geoip ! --source-country A1,A2 --later -5 -j DROP")
    ndpi, geoip = one.matches
    assert (ndpi.module, ndpi.opaque) == ("ndpi", True)
    assert [(option.name, option.negated, option.values) for option in geoip.options] == [
        ("source-country", True, ("A1,A2",)),
        ("later", False, ("-5",)),
    ]
    assert one.target is not None
    assert one.target.name == "DROP"


def test_a_target_of_xtables_addons_is_a_target() -> None:
    one = rule("-p tcp -j TARPIT --honeypot")
    assert one.target is not None
    assert (one.target.name, one.target.chain, one.target.opaque) == ("TARPIT", False, True)


def test_a_rule_for_the_other_family_is_skipped() -> None:
    assert rules_of("*filter\n-A FORWARD -6 -s ::1 -j DROP\n-A FORWARD -4 -j LOG\nCOMMIT\n")[0].canonical == "-j LOG"


def test_bytes_that_are_no_utf8_survive_in_comments() -> None:
    text = decode(b"# h\xf6flich\n*filter\n-A FORWARD -m comment --comment h\xf6flich -j DROP\nCOMMIT\n")
    assert str(rules_of(text)[0]).encode("utf-8", "surrogateescape").count(b"\xf6") == 1


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("*filter\r\nCOMMIT\r\n", 1, "table name 'filter\r' invalid"),
        ("*filter\n-A FORWARD -j DROP\r\nCOMMIT\n", 2, "Chain 'DROP\r' does not exist"),
        ("\ufeff*filter\nCOMMIT\n", 1, "outside of a table"),
        ("*filter\n  \nCOMMIT\n", 2, "no command specified"),
        ("*filter\n # x\nCOMMIT\n", 2, "Bad argument `#'"),
        ("*filter\n-A FORWARD\n", 3, "COMMIT expected"),
        ("*filter\n*nat\nCOMMIT\n", 2, "Bad argument `*nat'"),
        ("*filter\n-A FOO -j DROP\nCOMMIT\n", 2, "No chain/target/match by that name"),
        ("*filter\n\n-A FORWARD -j LATER\n:LATER - [0:0]\nCOMMIT\n", 3, "Chain 'LATER' does not exist"),
        ("*filter\n-A FORWARD --bogus\nCOMMIT\n", 2, 'unknown option "--bogus"'),
        ("*filter\n-A FORWARD -p tcp -m tcp --dest 1.2.3.4\nCOMMIT\n", 2, 'unknown option "--dest"'),
        ("*filter\n-A FORWARD --jump\nCOMMIT\n", 2, 'option "--jump" requires an argument'),
        ("*filter\n-A FORWARD -p tcp --dport nosuch\nCOMMIT\n", 2, "invalid port/service `nosuch' specified"),
        ("*filter\n-A FORWARD -p tcp -p udp\nCOMMIT\n", 2, "multiple -p flags not allowed"),
        ("*filter\n-A FORWARD -s 1.2.3.4/33\nCOMMIT\n", 2, "invalid mask `33' specified"),
        ("*filter\n-A FORWARD ! -s 1.1.1.1,2.2.2.2\nCOMMIT\n", 2, "! not allowed with multiple"),
        ("*filter\n-A FORWARD -m ttl --ttl-lt 3 --ttl-gt 4\nCOMMIT\n", 2, "cannot be used together"),
        ("*filter\n-A FORWARD -j LOG ! --log-uid\nCOMMIT\n", 2, "cannot be inverted"),
        ("*filter\n-A INPUT -o eth0\nCOMMIT\n", 2, "Can't use -o with INPUT"),
        ("*filter\n:FORWARD REJECT\nCOMMIT\n", 2, "Bad policy name"),
        ("*nat\n-A OUTPUT -j DROP\nCOMMIT\n", 2, "not intended for filtering"),
        ("*filter\n-I FORWARD 3\nCOMMIT\n", 2, "Index of insertion too big"),
        ("*filter\n-A FORWARD -t nat\nCOMMIT\n", 2, "The -t option cannot be used"),
    ],
)
def test_what_iptables_refuses_is_refused_in_its_words_and_with_the_line(text: str, line: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, "ip", file="rules.v4")
    assert words in caught.value.what
    assert (caught.value.file, caught.value.line) == ("rules.v4", line)


def test_a_listing_keeps_a_rule_that_is_not_understood() -> None:
    ruleset = parse_listing("*filter\n:Q - [0:0]\n-A FORWARD -p tcp -m tcp --dport x:y -j Q\n-A Q\nCOMMIT\n", "ip")
    one = ruleset.tables["filter"].chains["FORWARD"].rules[0]
    assert one.matches[0].opaque
    assert one.target is not None
    assert (one.target.name, one.target.chain) == ("Q", True)


def test_a_comment_of_several_lines_is_one_rule_of_a_listing() -> None:
    text = '*filter\n-A FORWARD -m comment --comment "a\n-j b" -j DROP\n-A FORWARD\nCOMMIT\n'
    first, _ = parse_listing(text, "ip").tables["filter"].chains["FORWARD"].rules
    assert (first.comments, first.canonical) == (("a\n-j b",), '-m comment --comment "a\n-j b" -j DROP')


def test_the_sets_of_a_ruleset_are_known_with_their_first_rule() -> None:
    text = (
        "*filter\n-A FORWARD -m set --match-set a src\n"
        "-A FORWARD -m set ! --match-set a dst -j SET --add-set b src\nCOMMIT\n"
    )
    assert {name: one.place.line for name, one in parse(text, "ip").set_names().items()} == {"a": 2, "b": 3}


def test_saving_prints_tables_chains_and_counters() -> None:
    text = (
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [1:2]\n:OUTPUT ACCEPT [0:0]\n:Q - [0:0]\n"
        "[5:6] -A FORWARD -j Q\nCOMMIT\n"
    )
    ruleset: Ruleset = parse(text, "ip")
    assert ruleset.save(counters=True) == text
    assert ruleset.save() == text.replace("[1:2]", "[0:0]").replace("[5:6] ", "")
