"""`port25lab probe`, the real command, in labs: as root there, and without any privilege."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from client_only import CA, SMALL_HELLO, WITHOUT_PRIVILEGES
from port25lab.probe.case import Diagnosis
from port25lab.probe.client_view import ClientView
from port25lab.pytest_plugin.labs import LabFactory, LabUnderTest

PROBE = ("env", CA, sys.executable, "-m", "port25lab", "probe")
UNPRIVILEGED = (*WITHOUT_PRIVILEGES, *PROBE)
QUICK = ("--timeout", "4")
AT_ONCE = 6

MX, SUBMISSION = "mx.example.net", "mail.provider.example"
BOTH = pytest.mark.parametrize("command", [PROBE, UNPRIVILEGED], ids=["root", "unprivileged"])


class Probed:
    """What the command said of itself with `--json -`."""

    def __init__(self, done: dict[str, Any]) -> None:
        assert "Traceback" not in done["stderr"]
        document = json.loads(done["stdout"])
        self.code = done["returncode"]
        self.view = ClientView.model_validate(document["view"])
        self.diagnoses = [Diagnosis.model_validate(diagnosis) for diagnosis in document["findings"]]

    def found(self, port: int = 25) -> set[tuple[str, int | None]]:
        """Mechanisms and hops on a port, over both IP versions."""
        mine = [diagnosis for diagnosis in self.diagnoses if diagnosis.port == port]
        assert {diagnosis.ip_version for diagnosis in mine} == {4, 6}
        return {(" or ".join(sorted(diagnosis.candidates)), diagnosis.hop) for diagnosis in mine}


def probed(lab: LabUnderTest, source: str, *arguments: str, command: tuple[str, ...] = PROBE) -> Probed:
    return Probed(lab.run(source, *command, *QUICK, "--json", "-", *arguments))


def home(lab: LabFactory, policy: str | None = None, node: str = "isp-edge") -> LabUnderTest:
    return lab("residential_isp", policies={node: policy} if policy else {})


@BOTH
def test_without_a_policy_mail_has_its_way(lab: LabFactory, command: tuple[str, ...]) -> None:
    seen = probed(home(lab), "pc", "--mx", "example.net", command=command)
    assert seen.code == 0
    assert seen.found() == {("none", None)}
    assert seen.view.target == MX
    assert seen.view.raw == (command is PROBE)
    certificates = [one.certificate for one in seen.view.sessions if one.port == 25]
    assert all(one and one.problem is None and MX in one.names for one in certificates)
    assert {one.keywords for one in seen.view.sessions if one.port == 25} == {
        ("8BITMIME", "ENHANCEDSTATUSCODES", "HELP", "SIZE", "STARTTLS")
    }


EXPECTED = {
    "op25b": ("syn-drop", 2),
    "op25b-reject": ("reject-icmp", 2),
    "op25b-reset": ("reject-reset", 2),
    "op25b-in": ("answer-drop or syn-drop", None),
    "redirect": ("interception", 2),
    "intercept-relay": ("interception", 2),
    "asa-fixup": ("starttls-stripping", 2),
    "asa-fixup-inline": ("starttls-stripping", None),
    "greeting-554": ("refusing-greeting", 2),
    "greeting-421": ("refusing-greeting", 2),
    "accept-close": ("accept-close", 2),
    "tarpit": ("tarpit", 2),
}
"""Policies on isp-edge, the second hop."""

AS_ROOT_TOO = ("op25b", "op25b-reset", "redirect", "accept-close")


@pytest.fixture(scope="module")
def policies_met(lab: LabFactory) -> dict[tuple[str, bool], Probed]:
    """A probe behind each policy, by policy and privilege."""
    home(lab).up  # noqa: B018  # the engine makes its sandboxes once, and not in several threads

    def meet(policy: str) -> dict[tuple[str, bool], Probed]:
        behind = home(lab, policy)
        seen = {(policy, False): probed(behind, "pc", SUBMISSION, command=UNPRIVILEGED)}
        if policy in AS_ROOT_TOO:
            seen[policy, True] = probed(behind, "pc", SUBMISSION)
        return seen

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {key: seen for met in pool.map(meet, EXPECTED) for key, seen in met.items()}


@pytest.mark.parametrize(
    ("policy", "privileged"),
    [*((policy, False) for policy in EXPECTED), *((policy, True) for policy in AS_ROOT_TOO)],
)
def test_what_a_client_finds(policies_met: dict[tuple[str, bool], Probed], policy: str, privileged: bool) -> None:
    seen = policies_met[policy, privileged]
    assert seen.view.raw is privileged
    assert seen.code == 1
    assert seen.found() == {EXPECTED[policy]}
    assert seen.found(587) == {("none", None)}
    assert seen.view.seconds < 5


def test_the_same_policy_further_on_is_found_further_on(lab: LabFactory) -> None:
    assert probed(home(lab, "op25b", "isp-border"), "cgn-pc", SUBMISSION).found() == {("syn-drop", 4)}


def test_a_home_routers_list(lab: LabFactory) -> None:
    seen = probed(home(lab, "cpe-allowlist", "cpe"), "pc", "mail.company.example")
    assert seen.found(25) == seen.found(587) == {("syn-drop", 1)}
    assert seen.found(465) == {("none", None)}
    assert probed(home(lab, "cpe-allowlist", "cpe"), "pc", SUBMISSION).code == 0


@BOTH
def test_a_filter_of_names(lab: LabFactory, command: tuple[str, ...]) -> None:
    filtered = home(lab, "sni-reset")
    assert probed(filtered, "pc", SUBMISSION, command=command).found(465) == {("sni-reset", 2)}
    assert probed(filtered, "pc", SUBMISSION, "--ports", "465", command=command).code == 1
    assert probed(filtered, "pc", "mail.company.example", command=command).found(465) == {("none", None)}


def test_an_mtu_black_hole_shows_in_a_large_message(lab: LabFactory) -> None:
    holed = home(lab, "mtu-black-hole")
    send = ("--send-to", "someone@example.net", "--from", "me@home.example", "--timeout", "7")
    command = ("env", f"OPENSSL_CONF={SMALL_HELLO}", *UNPRIVILEGED)
    seen = probed(holed, "pc", "--mx", "example.net", "--ports", "25", *send, command=command)
    assert seen.code == 1
    assert seen.found() == {("mtu-black-hole", None)}


@BOTH
def test_a_cloud_leaves_2525_open(lab: LabFactory, command: tuple[str, ...]) -> None:
    cloud = lab("hosting", policies={"hosting-edge": "digitalocean"})
    done = cloud.run("vps-1", *command, *QUICK, "smtp.relay.example")
    assert done["returncode"] == 1
    assert "Ports 25, 465 and 587 over IPv4 and IPv6\n  what   SYNs come 1 hop far" in done["stdout"]
    assert "port 2525, STARTTLS and a log-in (relay services have it), at" in done["stdout"]
    assert "proven from here" in done["stdout"]


def test_another_host_tells_whose_block_it_is(lab: LabFactory) -> None:
    seen = probed(
        home(lab, "op25b-in"), "pc", "--mx", "example.net", "--control", "mx.example.org", "--ports", "25,587"
    )
    assert {diagnosis.mechanism for diagnosis in seen.diagnoses if diagnosis.port == 25} == {"answer-drop"}
    lone = lab("residential_isp", policies={"ix": "ip25b-receiver"})
    assert probed(lone, "office", "--mx", "example.net", "--control", "mx.example.org").code == 0


@BOTH
def test_a_reset_of_the_last_router_takes_root_to_tell(lab: LabFactory, command: tuple[str, ...]) -> None:
    seen = probed(home(lab, "op25b-reset", "ix"), "cgn-pc", "--mx", "example.net", command=command)
    expected = ("reject-reset", 5) if command is PROBE else ("no-listener or reject-reset", None)
    own = {diagnosis.ip_version: diagnosis for diagnosis in seen.diagnoses if diagnosis.port == 25}
    assert (" or ".join(sorted(own[6].candidates)), own[6].hop) == expected


@BOTH
def test_a_port_that_a_home_router_forwards_is_not_intercepted(lab: LabFactory, command: tuple[str, ...]) -> None:
    seen = probed(home(lab), "foreign-pc", "mail.home.example", command=command)
    assert seen.code == 0
    assert seen.found() == {("none", None)}
    assert all("no-listener" in diagnosis.candidates for diagnosis in seen.diagnoses if diagnosis.port == 587)


def test_a_message_is_sent_where_it_is_asked_for(lab: LabFactory) -> None:
    login = ("--user", "alice", "--send-to", "someone@example.net", "--from", "alice@provider.example")
    seen = probed(home(lab), "pc", SUBMISSION, *login, "--password", "alice-secret")
    assert {one.stage for one in seen.view.deliveries} == {"done"}
    seen = probed(home(lab), "pc", SUBMISSION, *login, "--password", "wrong")
    assert {one.smtp_code for one in seen.view.deliveries} == {535}
    assert seen.found(587) == {("server-refusal", None)}
    untrusted = Probed(
        home(lab).run("pc", *PROBE[2:], *QUICK, "--json", "-", SUBMISSION, *login, "--password", "alice-secret")
    )
    assert all((one.reply or "").startswith("not logged in") for one in untrusted.view.deliveries)


def test_one_ip_version_alone(lab: LabFactory) -> None:
    leaky = home(lab, "op25b-v4only")
    assert {f.mechanism for f in probed(leaky, "pc", "-4", SUBMISSION).diagnoses if f.port == 25} == {"syn-drop"}
    only6 = probed(leaky, "pc", "-6", SUBMISSION)
    assert only6.code == 0
    assert {diagnosis.ip_version for diagnosis in only6.diagnoses} == {6}


def test_a_machine_without_ipv6_is_not_blocked_by_that(lab: LabFactory) -> None:
    own = lab("residential_isp", policies={}, customers=1)
    own.run("pc-3", "ip", "-6", "route", "del", "default")
    done = own.run("pc-3", *PROBE, *QUICK, "--mx", "example.net")
    assert done["returncode"] == 0
    assert "the machine has no such connectivity" in done["stdout"]


def test_names_that_do_not_resolve_end_with_2_and_say_so(lab: LabFactory) -> None:
    for arguments in (("no-such.example",), ("--mx", "no-such.example"), (MX, "--control", "no-such.example")):
        done = home(lab).run("pc", *PROBE, *arguments)
        assert done["returncode"] == 2, done
        assert done["stdout"] == ""
        assert "'no-such.example' cannot be resolved: " in done["stderr"]
        assert done["stderr"].count("\n") == 1


def test_a_resolver_that_is_silent_is_not_waited_for_long(lab: LabFactory) -> None:
    mute = lab("residential_isp", policies={}, customers=1)
    mute.run("pc-3", "ip", "route", "add", "blackhole", "198.51.100.53")
    mute.run("pc-3", "ip", "-6", "route", "add", "blackhole", "2001:db8:100:53::53")
    done = mute.run("pc-3", *PROBE, "--mx", "example.net")
    mute.run("pc-3", "ip", "route", "del", "blackhole", "198.51.100.53")
    mute.run("pc-3", "ip", "-6", "route", "del", "blackhole", "2001:db8:100:53::53")
    assert done["returncode"] == 1
    assert "no resolver of /etc/resolv.conf gives an answer" in done["stdout"].replace("\n         ", " ")
    assert "at the DNS resolver that this machine asks, or at your own router" in done["stdout"]


def test_hostile_servers_come_to_an_end(lab: LabFactory, request: pytest.FixtureRequest) -> None:
    hostile = home(lab, str(request.path.parent / "hostile"))
    for host in (MX, "mx.example.org", "mx.example.com", "mail.company.example"):
        seen = probed(hostile, "pc", host, "-4", "--timeout", "3")
        assert seen.code == 1
        assert seen.view.seconds < 4
        assert {diagnosis.hop for diagnosis in seen.diagnoses if diagnosis.port == 25} <= {2, None}


def test_into_a_pipe_goes_plain_text_and_into_a_file_json(lab: LabFactory) -> None:
    done = home(lab, "op25b").run(
        "pc", "sh", "-c", f"{' '.join(PROBE)} --timeout 4 {SUBMISSION} --json /tmp/x.json; cat /tmp/x.json"
    )
    table, _, document = done["stdout"].partition("{")
    assert table.isascii() and "\x1b" not in table
    assert ", hop 2 (198.51.100.130)\n" in table
    assert json.loads("{" + document)["schema_version"] == 1
