"""The kernel's listing joined to the files: every rule gets its line, every difference is told."""

from __future__ import annotations

from port25lab.rules import Differing, Source, join, parse_listing, stack


def test_rules_get_the_lines_of_the_files_that_brought_them() -> None:
    files = [
        Source("*filter\n:Q - [0:0]\n-A FORWARD -p 6 --dport smtp -j Q\nCOMMIT\n", "a"),
        Source("*filter\n-I FORWARD -s 1.1.1.1,2.2.2.2 -j LOG\n-A Q -m comment --comment x -j DROP\nCOMMIT\n", "b"),
    ]
    listing = (
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [7:8]\n:OUTPUT ACCEPT [0:0]\n:Q - [0:0]\n"
        "-A FORWARD -s 2.2.2.2/32 -j LOG\n-A FORWARD -s 1.1.1.1/32 -j LOG\n-A FORWARD -p tcp -m tcp --dport 25 -j Q\n"
        "-A Q -m comment --comment x -j DROP\nCOMMIT\n"
    )
    joined = join(parse_listing(listing, "ip"), stack(files, "ip"))
    assert joined.differences == ()
    assert [str(rule.place) for rule in joined.ruleset.rules()] == ["b:2", "b:2", "a:3", "b:3"]
    source = joined.source("filter", "FORWARD", 3)
    assert source is not None
    assert source.text == "-A FORWARD -p 6 --dport smtp -j Q"
    assert joined.ruleset.tables["filter"].chains["FORWARD"].counters == (7, 8)


def test_the_kernel_is_right_where_they_differ() -> None:
    source = stack(
        [
            Source(
                "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j LOG\n-A FORWARD -j DROP\n-A FORWARD -p tcp\nCOMMIT\n", "a"
            )
        ],
        "ip",
    )
    listing = (
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
        "-A FORWARD -s 9.9.9.9/32\n-A FORWARD -j LOG\n-A FORWARD -p udp\nCOMMIT\n"
    )
    joined = join(parse_listing(listing, "ip"), source)
    forward = joined.ruleset.tables["filter"].chains["FORWARD"]
    assert [rule.canonical for rule in forward.rules] == ["-s 9.9.9.9/32", "-j LOG", "-p udp"]
    assert [str(rule.place) for rule in forward.rules] == [":5", "a:3", "a:4"]
    assert forward.policy == "ACCEPT"
    assert [one.how for one in joined.differences] == [
        Differing.POLICY,
        Differing.ONLY_KERNEL,
        Differing.RULE,
        Differing.ONLY_FILES,
    ]
    assert [str(one) for one in joined.differences] == [
        "filter/FORWARD: the kernel's policy is ACCEPT, expected was DROP",
        "filter/FORWARD: the kernel has '-s 9.9.9.9/32', which no file brought",
        "filter/FORWARD: the kernel has '-p udp', expected was '-j DROP' (a:4)",
        "filter/FORWARD: the kernel does not have '-p tcp' (a:5)",
    ]


def test_a_form_that_is_not_ours_is_told_though_it_means_the_same() -> None:
    source = stack([Source("*filter\n-A FORWARD -p tcp --dport 25\nCOMMIT\n", "a")], "ip")
    joined = join(parse_listing("*filter\n-A FORWARD -p tcp -m tcp --dport 25:25\nCOMMIT\n", "ip"), source)
    assert [one.how for one in joined.differences] == [Differing.FORM]
    assert [str(rule.place) for rule in joined.ruleset.rules()] == ["a:2"]


def test_a_table_that_the_kernel_does_not_list_is_missing() -> None:
    source = stack([Source("*nat\n-A OUTPUT -j ACCEPT\nCOMMIT\n*mangle\nCOMMIT\n", "a")], "ip")
    joined = join(parse_listing("", "ip"), source)
    assert [str(one) for one in joined.differences] == ["nat/OUTPUT: the kernel does not have '-j ACCEPT' (a:2)"]


def big(rules: int) -> str:
    """A ruleset as a large site has it: networks, ports, sets, limits, comments, chains."""
    shapes = (
        "-s {net} -p tcp -m tcp --dport {port} -j ACCEPT",
        "-s {net} -d 192.0.2.{byte} -i eth0 -p tcp -m tcp --dport {port} -m conntrack --ctstate NEW -j C{digit}",
        "-s {net} -p udp -m udp --sport 1024:65535 --dport 53 -j DROP",
        "-s {net} -m set --match-set blocked{digit} src -j RETURN",
        '-d {net} -p tcp -m multiport --dports 25,465,{port} -m comment --comment "rule {number}" -j REJECT',
        '-s {net} -m limit --limit {digit}/min -j LOG --log-prefix "x{number}: "',
    )
    lines = ["*filter", *(f":C{digit} - [0:0]" for digit in range(10))]
    for number in range(rules):
        values = {"net": f"10.{number // 250}.{number % 250}.0/24", "port": number + 1, "byte": number % 256}
        shape = shapes[number % len(shapes)].format(**values, digit=number % 9 + 1, number=number)
        lines.append(f"-A {'FORWARD' if number % 2 else f'C{number % 10}'} {shape}")
    return "\n".join([*lines, "COMMIT", ""])


def test_a_large_ruleset_is_joined_rule_by_rule() -> None:
    text = big(1200)
    joined = join(parse_listing(stack([Source(text, "a")], "ip").save(), "ip"), stack([Source(text, "a")], "ip"))
    assert joined.differences == ()
    assert sum(1 for _ in joined.ruleset.rules()) == 1200


def test_a_test_that_no_packet_passes_is_the_kernels_to_keep_or_to_leave_out() -> None:
    files = stack([Source("*filter\n-A FORWARD -p tcp ! --sport : --dport 25 -j DROP\nCOMMIT\n", "rules.v4")], "ip")
    for listed, kept in (("! --sport 0:65535 --dport 25", 2), ("--dport 25", 1)):
        kernel = parse_listing(f"*filter\n-A FORWARD -p tcp -m tcp {listed} -j DROP\nCOMMIT\n", "ip")
        joined = join(kernel, files)
        (rule,) = joined.ruleset.rules()
        assert len(rule.matches[0].options) == kept
        assert {difference.how for difference in joined.differences} <= {Differing.FORM}
    another = parse_listing("*filter\n-A FORWARD -p tcp -m tcp --dport 26 -j DROP\nCOMMIT\n", "ip")
    assert [difference.how for difference in join(another, files).differences] == [Differing.RULE]
