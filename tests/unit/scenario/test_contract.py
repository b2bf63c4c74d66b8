"""Contracts: what a correct policy does, in a mirror."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.errors import InputError
from port25lab.model.outcome import Should
from port25lab.model.snapshot import Snapshot
from port25lab.scenario.contract import asked_rows, read_contract
from port25lab.scenario.mirror import Mirror, mirror
from port25lab.scenario.router_facts import read_router
from port25lab.scenario.snapshot import read_snapshot
from router_snapshots import RULES, router, rules


def mirrored(folder: Path) -> Mirror:
    snapshot = rules(folder, RULES)
    return mirror(snapshot, read_router(snapshot))


@pytest.mark.parametrize("name", ["op25b", "ip25b", "submission-open"])
def test_each_contract_of_ours_asks_something_of_a_router(name: str) -> None:
    snapshot = router("isp_edge_sets")
    rows = asked_rows(read_contract(name), mirror(snapshot, read_router(snapshot)), "new", (4, 6))
    assert [row for row in rows if row.questions and row.row.should is not Should.NOT_COVERED]


def test_a_row_is_asked_of_each_host_of_its_kind_and_not_asked_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        """\
title: mine
rows:
  - {text: all inside, from: inside, to: mx, should: blocked}
  - {text: named, from: named, to: provider, port: 587, ip: 4, should: allowed}
  - {text: one host, from: static, to: mx, should: allowed}
  - {text: nothing comes in, from: outside, to: to-203-0-113-25, ip: 6, should: blocked}
"""
    )
    rows = asked_rows(read_contract(str(tmp_path / "mine.yaml")), mirrored(tmp_path), "new", (4, 6))
    sources = [[question.path.source for question in row.questions] for row in rows]
    assert sources[0] == ["inside-lan0", "inside-lan0"]
    assert set(sources[1]) == {"from-10-1-2-25", "from-10-9-0-0-16", "static"}
    assert sources[2] == ["static"]
    assert sources[3] == []  # that server has no IPv6
    assert rows[1].questions[0].path.security == "starttls"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: x\nrows: [{text: a, from: nowhere, to: mx, should: blocked}]", "no host 'nowhere'"),
        ("title: x\nrows: [{text: a, from: inside, to: mx, packet: nothing, should: blocked}]", "unknown packet"),
        ("title: x\nrows: [{text: a, from: inside, to: mx, should: open}]", "mine.yaml:2"),
        ("title: x\n", "rows"),
    ],
)
def test_a_contract_that_cannot_be_asked_is_bad_input(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        asked_rows(read_contract(str(tmp_path / "mine.yaml")), mirrored(tmp_path), "new", (4,))


def test_an_unknown_contract_is_named_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="op25b"):
        read_contract("op25c")


BY_SET = """\
*filter
:MAIL - [0:0]
-A FORWARD -p tcp --dport 25 -j MAIL
-A MAIL -m set --match-set static src -j RETURN
-A MAIL -m set --match-set pool src -j DROP
COMMIT
"""


def sources(folder: Path, snapshot_of: Snapshot) -> dict[int | None, set[str]]:
    (folder / "mine.yaml").write_text("title: x\nrows: [{text: a, from: inside, to: mx, should: blocked}]")
    one = mirror(snapshot_of, read_router(snapshot_of))
    (row,) = asked_rows(read_contract(str(folder / "mine.yaml")), one, "new", (4, 6))
    found: dict[int | None, set[str]] = {}
    for question in row.questions:
        found.setdefault(question.path.ip_version, set()).add(question.path.source)
    return found


def test_where_rules_block_by_a_set_that_is_not_known_its_host_is_who_should_be_blocked(tmp_path: Path) -> None:
    assert sources(tmp_path, rules(tmp_path, BY_SET)) == {4: {"pool"}, 6: {"inside-eth1"}}
    plain = BY_SET.replace(" -m set --match-set pool src", "")
    assert sources(tmp_path, rules(tmp_path, plain)) == {4: {"inside-eth1"}, 6: {"inside-eth1"}}


def test_where_the_members_of_the_set_are_known_others_inside_are_asked_as_well(tmp_path: Path) -> None:
    (tmp_path / "sets").write_text("create pool hash:net\nadd pool 10.1.2.0/24\ncreate static hash:net\n")
    (tmp_path / "rules").write_text(BY_SET)
    snapshot = read_snapshot([str(tmp_path / "rules"), str(tmp_path / "sets")]).snapshot
    assert sources(tmp_path, snapshot)[4] == {"inside-eth1"}
