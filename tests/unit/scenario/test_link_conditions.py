"""Delay and loss on links: how they are written, which links they mean, and what tc is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from port25lab.errors import InputError
from port25lab.model.plan import Conditions
from port25lab.network.builder import netem_words
from port25lab.scenario.questions import load_questions
from port25lab.scenario.topology import load_topology

SCENARIO = """\
title: t
topology: residential_isp
links: {links}
variants: {{open: {{}}}}
paths: [{{from: pc, to: mx, expect: delivered}}]
"""


def conditions(folder: Path, links: str) -> dict[tuple[str, str], Conditions]:
    file = folder / "s.yaml"
    file.write_text(SCENARIO.format(links=links))
    plan = load_questions(str(file))[0].config.plan
    return {(link.node1, link.node2): link.conditions for link in plan.links if link.conditions}


def test_an_entry_means_all_links_of_its_nodes_and_the_last_one_counts(tmp_path: Path) -> None:
    found = conditions(tmp_path, "[{nodes: 'isp-*', delay: 20ms}, {nodes: [pc], delay: 5ms, jitter: 1ms, loss: 2%}]")
    assert all("isp-" in one + two for one, two in found if "pc" not in (one, two))
    (home,) = [one for ends, one in found.items() if "pc" in ends]
    assert home == Conditions(delay=0.005, jitter=0.001, loss=0.02)
    assert Conditions(delay=0.02) in found.values()


@pytest.mark.parametrize(
    ("links", "words"),
    [
        ("[{nodes: pc, delay: 20 m}]", "a time is '20 m'; 20ms"),
        ("[{nodes: pc, delay: 61s}]", "a time is '61s'"),
        ("[{nodes: pc, loss: 3}]", "a loss is 3; "),
        ("[{nodes: pc, loss: 101%}]", "a loss is '101%'"),
        ("[{nodes: pc, loss: true}]", "a loss is true"),
        ("[{nodes: pc, jitter: 1ms}]", "`jitter` is longer than `delay`"),
        ("[{nodes: isp-egde, loss: 1%}]", "no node 'isp-egde' in residential_isp; did you mean 'isp-edge'?"),
        ("[{nodes: pc, bandwidth: 1}]", "unknown key 'bandwidth'"),
        ("[{delay: 1ms}]", "nodes"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(links: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        conditions(tmp_path, links)
    assert words in str(caught.value)
    assert "s.yaml:3:" in str(caught.value)


TOPOLOGY = """\
from mininet.topo import Topo


class Two(Topo):
    def build(self):
        self.addHost("a")
        self.addHost("b")
        self.addLink("a", "b", {options})


topos = {{"two": Two}}
"""


def of_topology(folder: Path, options: str) -> Conditions:
    file = folder / "two.py"
    file.write_text(TOPOLOGY.format(options=options))
    return load_topology(str(file), {}).links[0].conditions


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("delay='20ms', jitter='2ms', loss=1", Conditions(delay=0.02, jitter=0.002, loss=0.01)),
        ("loss=0.5", Conditions(loss=0.005)),
        ("delay=None", Conditions()),
    ],
)
def test_a_topology_file_says_it_as_mininet_does(options: str, found: Conditions, tmp_path: Path) -> None:
    assert of_topology(tmp_path, options) == found


@pytest.mark.parametrize("options", ["bw=10", "delay='soon'", "loss=101", "delay='1ms', jitter='2ms'"])
def test_what_a_lab_does_not_have_is_not_left_out_silently(options: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="link a to b: "):
        of_topology(tmp_path, options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delay": 0.02}, "limit 100000 delay 20000us"),
        ({"delay": 0.02, "jitter": 0.0005}, "limit 100000 delay 20000us 500us"),
        ({"loss": 0.001}, "limit 100000 loss 0.1%"),
        ({"delay": 1.0, "loss": 1.0}, "limit 100000 delay 1000000us loss 100%"),
    ],
)
def test_what_tc_is_told(options: dict[str, Any], words: str) -> None:
    assert netem_words(Conditions(**options)) == words
