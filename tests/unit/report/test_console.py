"""The console: plain and whole in a pipe, coloured and folded on a terminal, and never at a server's command."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from rich.console import Console

from evidence_factory import HOSTILE, MX, changed, decision, hop, rule, seen, verdict
from port25lab.model.evidence import Stage
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import Outcome
from port25lab.model.verdict import Control, Verdict
from port25lab.report import console, describe, rows

ANSI = re.compile(r"\x1b\[[0-9;]*m")

V4, V6 = verdict(Outcome.DROPPED), verdict(Outcome.DROPPED, ip_version=6)
LEAK = verdict(ref="S2", expected=Outcome.DROPPED)


class Utf8(io.StringIO):
    encoding = "utf-8"


def piped(*verdicts: Verdict) -> str:
    file = io.StringIO()
    console.print_report(console.open_console(file), verdicts, 1.25)
    return file.getvalue()


def on_terminal(*verdicts: Verdict, width: int = 120) -> str:
    file = Utf8()
    terminal = Console(
        file=file, force_terminal=True, width=width, color_system="standard", highlight=False, legacy_windows=False
    )
    console.print_report(terminal, verdicts, 1.25, seed_table=True)
    return file.getvalue()


def lines(text: str, *parts: str) -> list[str]:
    return [line for line in text.splitlines() if all(part in line for part in parts)]


# -- tables -----------------------------------------------------------------------------------------------------------


def test_a_path_has_one_line_with_its_outcome_and_the_rule_that_decided() -> None:
    assert lines(piped(V4), "ok ") == [
        "ok  S3   home-server -> MX of example.net:25  v4  dropped  ETIMEDOUT 1.3 s  isp-edge op25b #4"
    ]


def test_a_client_that_did_not_wait_has_proven_its_error() -> None:
    proven = seen(Stage.CONNECT, errno="ETIMEDOUT", seconds=0.003, proven_early=True)
    assert lines(piped(verdict(Outcome.DROPPED, observation=proven)), "ok ", "ETIMEDOUT proven in 3 ms")
    assert describe.client_words(proven).endswith("ETIMEDOUT (Connection timed out) proven after 3 ms")


def test_both_ip_versions_share_a_row_where_they_met_the_same_end() -> None:
    assert [row.verdicts for row in rows.rows([V4, V6])] == [(V4, V6)]
    [line] = lines(piped(V4, V6), "home-server ->")
    assert " v4 v6 " in line


@pytest.mark.parametrize(
    "other",
    [
        {"outcome": Outcome.DELIVERED, "expected": Outcome.DROPPED, "ok": False},
        {"blame": rule("isp-core", family="ip6")},
        {"observation": seen(Stage.CONNECT, errno="EACCES")},
        {"ok": False},
    ],
)
def test_ip_versions_with_different_ends_have_a_row_each(other: dict[str, object]) -> None:
    assert len(rows.rows([V4, changed(V6, **other)])) == 2


def test_a_merged_row_has_the_rule_of_each_family() -> None:
    sixth = changed(V6, blame=rule(number=5, family="ip6", file="/p/op25b/rules.v6"))
    text = piped(V4, sixth)
    assert lines(text, "v4 v6", "isp-edge op25b #4/#5")
    assert lines(text, "op25b/rules.v4:12", "-j DROP")
    assert lines(text, "op25b/rules.v6:12", "-j DROP")


def test_an_unexpected_outcome_says_what_was_expected_in_its_line() -> None:
    assert lines(piped(LEAK), "FAIL  S2", "home-server ->", "delivered, expected dropped")
    wrong = verdict(Outcome.DROPPED, expected_by="hotel", ok=False)
    assert lines(piped(wrong), "FAIL", "home-server ->", "dropped, expected by hotel")
    otherwise = verdict(Outcome.DROPPED, expected_how=Mechanism.ANSWER_DROP, ok=False)
    assert lines(piped(otherwise), "FAIL", "home-server ->", "dropped, expected by answer-drop")
    unproven = verdict(Outcome.DROPPED, ok=False, disagreement="the client saw EACCES")
    assert lines(piped(unproven), "FAIL", "home-server ->", "dropped, expected with proof")


def test_a_deferred_message_names_the_relay_and_the_rule_that_it_met() -> None:
    met = rule("isp-core")
    found = verdict(Outcome.DEFERRED, blame=met, hops=[hop(errno="ETIMEDOUT", decisions=[decision(blame=met)])])
    assert lines(piped(found), "deferred", "isp-relay -> mx.example.net ETIMEDOUT, isp-core op25b #4")


def test_a_delivered_message_names_the_relays_on_its_way() -> None:
    assert lines(piped(verdict(hops=[hop(Stage.DONE), hop(Stage.DONE)])), "delivered", "via isp-relay")


def test_each_lab_has_a_table_under_its_name_and_policies() -> None:
    text = piped(V4, verdict(variant="open", policies={}))
    assert lines(text, "residential/op25b | op25b on isp-edge | 1 path, all as expected")
    assert lines(text, "residential/open | no policy | 1 path, all as expected")


def test_stacked_policies_are_named_with_their_rules() -> None:
    assert lines(piped(verdict(Outcome.DROPPED, policies={"isp-edge": ["op25b", "ip25b"]})), "isp-edge op25b op25b #4")


# -- failures and summary ---------------------------------------------------------------------------------------------


def test_a_failure_has_the_path_expected_and_found_the_clients_words_the_rule_and_the_command() -> None:
    found = verdict(
        Outcome.DROPPED,
        expected=Outcome.DELIVERED,
        control=Control(outcome=Outcome.DELIVERED, through=True),
    )
    text = piped(found)
    block = text[text.index("FAIL S3 in residential/op25b: expected delivered, found dropped\n") :]
    for key, words in (
        ("path", "home-server -> MX of example.net:25, IPv4"),
        ("expected", "delivered"),
        ("found", "dropped: a rule drops the SYN and says nothing"),
        ("client", f"connect to {MX}: ETIMEDOUT (Connection timed out) after 1.3 s"),
        ("rule", "-A op25b -m set --match-set dynamic-customers src -j DROP"),
        ("control", "without the policy the same path gets through (delivered)"),
        ("repeat", "port25lab run residential -k 'residential/op25b/S3-home-server-to-mx:example.net-25/ipv4'"),
    ):
        assert f"\n  {key:<8}  {words}\n" in block


def test_what_is_ok_has_no_failure_block() -> None:
    assert "repeat" not in piped(V4, verdict(expected=None))


def test_paths_that_one_broken_lab_took_along_share_a_failure() -> None:
    broken = [
        verdict(Outcome.ERROR, expected=Outcome.DROPPED, reason="the lab broke", ip_version=4, ref=ref, to=ref)
        for ref in ("S1", "S2")
    ]
    text = piped(*broken)
    assert text.count("repeat") == 1
    assert lines(text, "FAIL residential/op25b: error on 2 paths")
    block = text[text.index("error on 2 paths") :]
    assert "home-server -> S1:25" in block
    assert "home-server -> S2:25" in block


def test_the_summary_counts_paths_and_outcomes() -> None:
    text = piped(V4, V6, LEAK, verdict(expected=None))
    assert lines(text, "4 paths in 1 lab, 1.2 s: 2 as expected, 1 not, 1 without expectation")
    assert lines(text, "delivered 2, dropped 2")
    assert piped().splitlines() == ["0 paths in 0 labs, 1.2 s: 0 as expected"]


def test_an_error_is_not_as_expected_even_without_an_expectation() -> None:
    assert lines(piped(verdict(Outcome.ERROR, expected=None)), "0 as expected, 1 could not be told")


# -- pipes ------------------------------------------------------------------------------------------------------------

EVERYTHING = (
    V4,
    V6,
    LEAK,
    verdict(Outcome.ERROR, expected=Outcome.DROPPED, reason="lab broke " + "x" * 300),
    verdict(Outcome.DEFERRED, ref="S10", hops=[hop(errno="ETIMEDOUT", decisions=[decision()])]),
    verdict(ref="S6", port=587, security="starttls", auth="alice", client="swaks", name="x" * 300),
)


def test_a_pipe_gets_ascii_without_colours_and_without_trailing_blanks() -> None:
    text = piped(*EVERYTHING)
    assert text.isascii()
    assert "\x1b" not in text
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
    assert text.endswith("\n")


def test_a_pipe_gets_one_line_for_each_row_however_long() -> None:
    long = verdict(to="h" * 300, source="c" * 300)
    assert len(lines(piped(long), f"{'c' * 300} -> {'h' * 300}:25")) == 1


def test_an_encoding_that_lacks_a_character_gets_its_escape() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    console.print_report(console.open_console(file), [verdict(to="拒否")], 1.0)
    file.flush()
    assert rb"home-server -> \u62d2\u5426:25" in raw.getvalue()


def test_columns_wins_over_the_width_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert console.open_console(io.StringIO()).width == console.UNLIMITED
    monkeypatch.setenv("COLUMNS", "90")
    assert console.open_console(io.StringIO()).width == 90
    assert console.open_console(io.StringIO(), width=70).width == 70


# -- terminals --------------------------------------------------------------------------------------------------------


def test_a_terminal_gets_colours_and_signs() -> None:
    text = on_terminal(*EVERYTHING)
    assert "\x1b[32m✓" in text
    assert "\x1b[1;31m✗" in text
    assert "\x1b[31mdropped" in text
    assert "→ MX of" in ANSI.sub("", text)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_a_terminals_lines_fit_its_width_but_for_a_command_to_paste(width: int) -> None:
    for line in ANSI.sub("", on_terminal(*EVERYTHING, width=width)).splitlines():
        assert len(line) <= width or line.startswith("  repeat    port25lab run ")


# -- what a server says -----------------------------------------------------------------------------------------------


def hostile(reply: str) -> Sequence[Verdict]:
    said = seen(Stage.RCPT, smtp_code=550, enhanced_code="5.7.1", reply=reply, banner=reply)
    refused = verdict(Outcome.REJECTED, observation=said, ref=None)
    wrong = verdict(Outcome.REJECTED, expected=Outcome.DELIVERED, observation=said, reason=reply)
    relay = verdict(Outcome.REJECTED, hops=[hop(Stage.RCPT, smtp_code=550, reply=reply)])
    broken = verdict(Outcome.ERROR, reason=reply)
    return refused, wrong, relay, broken


def test_a_hostile_reply_does_nothing_to_a_pipe() -> None:
    text = piped(*hostile(HOSTILE))
    assert all(line.isprintable() for line in text.split("\n"))
    assert r"\x1b[2J" in text
    assert "[red]x[/red]" in text  # markup is text


def test_a_hostile_reply_does_nothing_to_a_terminal() -> None:
    text = ANSI.sub("", on_terminal(*hostile(HOSTILE)))
    assert all(line.isprintable() for line in text.split("\n"))


def test_a_hostile_reply_adds_no_lines_to_a_pipe() -> None:
    assert piped(*hostile("a\r\nok  S3   b\n\nc")).count("\n") == piped(*hostile("a")).count("\n")


def test_a_reply_of_a_megabyte_fills_no_screen() -> None:
    assert len(piped(*hostile("x" * 1_000_000))) < 10_000


# -- the seed table, the catalogue, the doctor ------------------------------------------------------------------------


def seed_lines(*verdicts: Verdict) -> list[list[str]]:
    """The cells of each line of the seed table in a pipe, without its heading."""
    file = io.StringIO()
    console.print_seed_table(console.open_console(file), verdicts)
    return [re.split(r"  +", line) for line in file.getvalue().splitlines()[1:]]


def test_the_seed_table_has_the_articles_words_and_both_columns() -> None:
    with_policy = changed(V4, control=Control(outcome=Outcome.DELIVERED, through=True))
    assert seed_lines(with_policy, verdict(ref="S1", to="isp-relay"))[:3] == [
        ["", "ref", "path", "IP", "without policy", "with policy", "policy, and its rule"],
        ["ok", "S1", "customer -> ISP's own relay, 25", "v4", "delivered", "op25b"],
        [
            "ok",
            "S3",
            "self-hosted server at home -> recipient's MX, 25",
            "v4",
            "delivered",
            "dropped",
            "op25b #4 on isp-edge",
        ],
    ]


def test_the_seed_table_colours_each_outcome_and_leaves_its_ip_version_plain() -> None:
    leak = verdict(expected=Outcome.DROPPED, ip_version=6)
    assert "v4 \x1b[31mdropped\x1b[0m, v6 \x1b[32mdelivered\x1b[0m" in on_terminal(V4, leak)


def blocked_by(policy: str, node: str, chain: str, number: int, **more: object) -> Verdict:
    given = {"variant": f"{policy}-{node}", "policies": {node: policy.split(" + ")}}
    blame = rule(node, chain=chain, number=number).model_copy(update={"policy": policy.split(" + ")[-1]})
    return verdict(Outcome.DROPPED, blame=blame, **given | more)


def test_policies_with_the_same_answer_name_their_rules_and_share_their_node() -> None:
    found = seed_lines(
        blocked_by("aws", "edge", "aws", 5),
        blocked_by("aws", "edge", "aws", 3, ip_version=6),
        blocked_by("gcp", "edge", "gcp", 2),
        blocked_by("mine", "edge", "FORWARD", 1),
        blocked_by("op25b + ip25b", "border", "ip25b", 2),
    )
    assert found[1][-1] == "aws #5/#3, gcp #2, mine FORWARD #1 on edge, op25b + ip25b: ip25b #2 on border"


def test_of_many_policies_that_let_it_through_the_first_few_are_named() -> None:
    def under(*names: str) -> str:
        return seed_lines(*(verdict(ref="S1", variant=name, policies={"edge": [name]}) for name in names))[1][-1]

    assert under("a", "b", "c", "d", "e") == "a, b, c, d, e"
    assert under("a", "b", "c", "d", "e", "f") == "a, b, c, d and 2 more"


def test_the_seed_table_says_what_the_article_leaves_out_where_it_matters() -> None:
    notes = [line[1] for line in seed_lines(V4, verdict(ref="S8")) if line[0] == "" and line[1:2] and ": " in line[1]]
    assert [note.split(":")[0] for note in notes] == ["S3", "S8"]
    assert "RFC 8314" in notes[1]
    assert not any("RFC 8314" in cell for line in seed_lines(V4) for cell in line)


def test_without_references_there_is_no_seed_table() -> None:
    assert seed_lines(verdict(ref=None)) == []


def test_the_seed_table_stands_before_failures_and_the_summary_comes_last() -> None:
    text = ANSI.sub("", on_terminal(V4, LEAK))
    assert text.index("OP25B, row by row") < text.index("repeat") < text.index("2 paths in 1 lab")


def test_the_catalogue_lists_names_with_one_line_each_under_their_kind() -> None:
    file = io.StringIO()
    console.print_catalogue(
        console.open_console(file),
        {
            "topologies": [("hotel", "A hotel with its own ISP")],
            "policies": [("none", "No rules"), ("op25b-all", "x" * 300), ("odd", "a\x1b\nb")],
            "scenarios": [],
        },
    )
    assert file.getvalue().splitlines() == [
        "topologies",
        "  hotel      A hotel with its own ISP",
        "",
        "policies",
        "  none       No rules",
        f"  op25b-all  {'x' * 300}",
        r"  odd        a\x1b / b",
        "",
        "scenarios",
        "",
    ]


@dataclass(frozen=True)
class Found:
    """A check of the doctor."""

    name: str
    required: bool
    ok: bool
    text: str
    remedy: str | None = None
    purpose: str = "sets of addresses"
    packages: tuple[str, ...] = ()


def test_checks_say_what_is_there_and_how_to_get_what_is_missing() -> None:
    file = io.StringIO()
    checks = [
        Found("nft", required=True, ok=True, text="1.0.9"),
        Found("ipset", required=True, ok=False, text="not found", remedy="apt-get install ipset", packages=("ipset",)),
        Found("nat", required=True, ok=False, text="not found", remedy="modprobe", packages=("nft", "ipset")),
        Found("swaks", required=False, ok=False, text="not found", remedy="apt-get install swaks", packages=("swaks",)),
    ]
    console.print_checks(console.open_console(file), checks)  # type: ignore[arg-type]
    text = file.getvalue()
    assert lines(text, "ok ", "nft", "1.0.9")
    assert lines(text, "FAIL", "ipset", "not found; apt-get install ipset")
    assert lines(text, "- ", "swaks", "not found; apt-get install swaks")
    assert text.index("required") < text.index("ipset") < text.index("optional") < text.index("swaks")
    assert text.endswith(
        "install what is required:\n  sudo apt-get install --no-install-recommends ipset nft\n"
        "install all of it:\n  sudo apt-get install --no-install-recommends ipset nft swaks\n"
    )


def test_where_no_package_is_missing_none_is_named() -> None:
    file = io.StringIO()
    checks = [Found("sets", required=True, ok=False, text="not found", remedy="modprobe ip_set")]
    console.print_checks(console.open_console(file), checks)  # type: ignore[arg-type]
    assert "apt-get" not in file.getvalue()
