"""A dropped SYN is not waited for where nothing that it met remembers anything, and only there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from port25lab.model.verdict import Verdict
from port25lab.pytest_plugin.labs import LabFactory

MX: dict[str, Any] = {"source": "sender", "to": "mx:example.net"}
SMTP = "-p tcp -m tcp --dport 25"
EARLY_SECONDS = 0.9
"""Less than the second after which Linux sends a SYN again."""


def table(name: str, *lines: str) -> str:
    return "\n".join([f"*{name}", *lines, "COMMIT", ""])


def early(verdict: Verdict) -> bool:
    return verdict.observation.proven_early


STATELESS = {
    "drop": table("filter", f"-A FORWARD {SMTP} -j DROP"),
    "policy": table("filter", ":FORWARD DROP [0:0]", "-A FORWARD -p udp -j ACCEPT", "-A FORWARD -p icmp -j ACCEPT"),
    "state and log": table(
        "filter",
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -m limit --limit 1/min -j LOG",
        f"-A FORWARD {SMTP} -m conntrack --ctstate NEW -j DROP",
    ),
    "before a limit": table("filter", f"-A FORWARD {SMTP} -m limit --limit 1/min -j ACCEPT")
    + table("mangle", f"-A FORWARD {SMTP} -j DROP"),
    "behind translation": table("nat", "-A POSTROUTING -p tcp -j MASQUERADE --random")
    + table("raw", f"-A PREROUTING {SMTP} -j DROP"),
}

REMEMBERS = {
    "a list beside": table("filter", f"-A FORWARD {SMTP} -m recent --name seen --set", f"-A FORWARD {SMTP} -j DROP"),
    "chance": table("filter", f"-A FORWARD {SMTP} -m statistic --mode random --probability 0.99999 -j DROP"),
    "the clock": table(
        "filter", f"-A FORWARD {SMTP} -m time --datestop 2001-01-01T00:00:00 -j ACCEPT", f"-A FORWARD {SMTP} -j DROP"
    ),
}


@pytest.mark.parametrize("ip_version", [4, 6])
@pytest.mark.parametrize("kind", STATELESS)
def test_a_drop_that_remembers_nothing_is_proven_by_two_syns(
    lab: LabFactory, street: str, make_policy: Callable[..., str], kind: str, ip_version: int
) -> None:
    rules = STATELESS[kind].replace("-p icmp", "-p icmp" if ip_version == 4 else "-p ipv6-icmp")
    policy = make_policy(f"early{ip_version}", **{f"v{ip_version}": rules})
    verdict = lab(street, {"edge": policy}).expect("dropped", by="edge", **MX, ip_version=ip_version)
    seen = verdict.observation
    assert (seen.proven_early, seen.errno) == (True, "ETIMEDOUT")
    assert seen.seconds < EARLY_SECONDS


@pytest.mark.parametrize("kind", REMEMBERS)
def test_a_drop_behind_something_that_remembers_is_waited_for(
    lab: LabFactory, street: str, make_policy: Callable[..., str], kind: str
) -> None:
    verdict = lab(street, {"edge": make_policy("slow", v4=REMEMBERS[kind])}).send(**MX, ip_version=4)
    assert verdict.outcome == "dropped"
    assert not early(verdict)
    assert verdict.observation.seconds > EARLY_SECONDS


def test_a_retransmission_that_a_list_lets_pass_is_waited_for(
    lab: LabFactory, street: str, make_policy: Callable[..., str]
) -> None:
    rules = table(
        "filter",
        f"-A FORWARD {SMTP} --syn -m recent --name seen --rcheck -j ACCEPT",
        f"-A FORWARD {SMTP} --syn -m recent --name seen --set -j DROP",
    )
    seen = lab(street, {"edge": make_policy("grey", v4=rules)}).send(**MX, ip_version=4).observation
    assert (seen.stage, seen.errno, seen.proven_early) == ("done", None, False)
    assert seen.seconds > EARLY_SECONDS


def test_rules_that_were_changed_in_the_running_lab_are_waited_for(
    lab: LabFactory, street: str, make_policy: Callable[..., str]
) -> None:
    edge = lab(street, {"edge": make_policy("changed", v4=table("filter", f"-A FORWARD {SMTP} -j DROP"))})
    added = [
        "iptables",
        "-I",
        "FORWARD",
        "-p",
        "tcp",
        "--dport",
        "26",
        "-m",
        "limit",
        "--limit",
        "1/min",
        "-j",
        "ACCEPT",
    ]
    assert edge.run("edge", *added)["returncode"] == 0
    assert not early(edge.expect("dropped", by="edge", **MX, ip_version=4))


def test_an_icmpv6_error_ends_a_connect_at_once(lab: LabFactory, street: str, make_policy: Callable[..., str]) -> None:
    rules = table("filter", f"-A FORWARD {SMTP} -j REJECT --reject-with icmp6-adm-prohibited")
    seen = (
        lab(street, {"edge": make_policy("reject6", v6=rules)})
        .expect("rejected-icmp", by="edge", **MX, ip_version=6)
        .observation
    )
    assert (seen.errno, seen.proven_early) == ("EACCES", False)
    assert seen.seconds < EARLY_SECONDS
