from __future__ import annotations

import importlib
import os
import signal
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from port25lab.engine import needs
from port25lab.engine.jobs import plan_jobs
from port25lab.errors import InputError, Interrupted
from port25lab.model import service_kinds
from port25lab.model.path import PathSpec
from port25lab.model.plan import InterfacePlan, NodePlan, Plan
from port25lab.scenario import catalogue
from port25lab.scenario.policy import load_policy
from port25lab.scenario.questions import lab_config, load_questions, question_about
from port25lab.scenario.topology import describe, load_topology

VARIETIES: list[tuple[str, dict[str, Any]]] = [
    ("access_isps", {}),
    ("access_isps", {"isps": 40, "customers": 5, "bots": 5, "relays": False}),
    ("internet", {}),
    ("residential_isp", {}),
    ("residential_isp", {"customers": 50}),
    ("hotel", {}),
    ("hotel", {"rooms": 200, "relay": True}),
    ("cloud_vpc", {}),
    ("cloud_vpc", {"instances": 90}),
    ("hosting", {}),
    ("hosting", {"servers": 40}),
    ("triangular", {}),
    ("unusual_customers", {}),
]


@pytest.fixture(params=VARIETIES, ids=lambda case: "-".join([case[0], *(f"{k}={v}" for k, v in case[1].items())]))
def plan(request: pytest.FixtureRequest) -> Plan:
    name, parameters = request.param
    return load_topology(name, parameters)


def test_the_varieties_cover_the_catalogue() -> None:
    assert {name for name, _ in VARIETIES} == set(catalogue.names("topologies"))


def test_a_plan_survives_the_socket(plan: Plan) -> None:
    assert Plan.model_validate(plan.model_dump(mode="json")) == plan


def test_names_fit_the_kernel(plan: Plan) -> None:
    for node in plan.nodes.values():
        names = [*(interface.name for interface in node.interfaces), *node.bridges]
        assert all(len(name) <= 15 for name in names)
        assert len(set(names)) == len(names)


def test_everybody_who_sends_or_serves_has_both_families(plan: Plan) -> None:
    for node in plan.nodes.values():
        if not node.forward:
            assert {address.version for address in node.addresses} == {4, 6}
            assert not node.services or {address.version for address in node.published} == {4, 6}
            assert {resolver.version for resolver in node.resolvers} == {4, 6}
            assert {route.to.version for route in node.routes if route.to.prefixlen == 0} == {4, 6}


def test_gateways_are_on_the_link(plan: Plan) -> None:
    for node in plan.nodes.values():
        for route in node.routes:
            assert route.via is None or any(route.via in address.network for address in node.addresses)


def test_both_ends_of_a_link_share_their_networks(plan: Plan) -> None:
    ports = {(node.name, port.name): port for node in plan.nodes.values() for port in node.interfaces}
    bridges = {
        (n.name, port): bridge for n in plan.nodes.values() for bridge in n.bridges.values() for port in bridge.ports
    }
    for link in plan.links:
        ends = [(link.node1, link.interface1), (link.node2, link.interface2)]
        one, other = (bridges.get(end, ports[end]) for end in ends)
        assert one.ip and other.ip and one.ip.network == other.ip.network
        assert one.ip != other.ip
        assert (one.ip6 and one.ip6.network) == (other.ip6 and other.ip6.network) or None in (one.ip6, other.ip6)


def test_bridges_join_ports_that_exist(plan: Plan) -> None:
    for node in plan.nodes.values():
        ports = {interface.name for interface in node.interfaces}
        assert all(set(bridge.ports) <= ports for bridge in node.bridges.values())


def test_no_public_address_belongs_to_two(plan: Plan) -> None:
    published = [
        address for node in plan.nodes.values() if not node.forward and node.names for address in node.published
    ]
    private = [address for address in published if address.is_private and str(address).startswith(("192.168.", "172."))]
    public = [address for address in published if address not in private]
    assert len(set(public)) == len(public)


def test_services_and_rules_of_the_network_are_sound(plan: Plan) -> None:
    service_kinds.check(plan)
    for node in plan.nodes.values():
        for policy in node.policies:
            assert set(load_policy(policy, relative_to=plan.file).sets) <= set(plan.sets)


def test_a_server_is_found_by_every_name_it_has() -> None:
    plan = load_topology("residential_isp")
    for to in (
        "home-server",
        "mail.home.example",
        "mx:home.example",
        "198.51.100.131",
        "192.168.1.25",
        "2001:db8:110:100::25",
    ):
        server = plan.server(to)
        assert server is not None and server.name == "home-server", to
    assert plan.server("mx:nowhere.example") is None
    assert plan.server("203.0.113.99") is None


def test_a_name_published_at_another_servers_address_means_that_server() -> None:
    eth0 = InterfacePlan.model_validate({"name": "eth0", "ip": "192.0.2.25/24"})
    mx = NodePlan(name="mx", interfaces=(eth0,), aliases=("mail.shop.example",))
    shop = NodePlan(name="shop", names=("www.shop.example",), public=(IPv4Address("192.0.2.25"),))
    router = NodePlan(name="router", forward=True, interfaces=(eth0,))
    plan = Plan(name="p", file=Path("p.py"), nodes={node.name: node for node in (mx, shop, router)})
    assert plan.owner("192.0.2.25") == "shop"
    assert plan.dialled("192.0.2.25", "mx") == "mx"
    assert plan.dialled("192.0.2.25", "router") == "shop"
    assert plan.dialled("192.0.2.25", None) == "shop"
    assert plan.dialled("192.0.2.26", "mx") is None
    assert plan.server("mail.shop.example") == mx


def test_an_address_belongs_to_who_publishes_it_before_who_has_it() -> None:
    plan = load_topology("residential_isp")
    assert plan.owner("198.51.100.131") == "home-server"
    assert any(str(address.ip) == "198.51.100.131" for address in plan.nodes["cpe"].addresses)
    assert plan.owner("198.51.100.67") == "office"
    assert plan.owner("198.51.100.99") is None


def test_users_and_domains_are_those_of_all_services() -> None:
    provider = load_topology("internet").nodes["provider"]
    assert sorted(provider.users) == ["alice", "bob"]
    assert provider.domains == ("provider.example",)
    assert provider.hostname == "mail.provider.example"


def test_parameters_stand_in_the_plan() -> None:
    plan = load_topology("residential_isp", {"customers": 2})
    assert plan.parameters == {"customers": 2}
    assert {"pc-3", "cpe-3", "pc-4", "cpe-4"} <= set(plan.nodes)
    assert "pc-5" not in plan.nodes


def test_describe_is_the_first_line() -> None:
    assert (
        describe("hotel") == "A hotel's guests behind its NAT gateway, at an ISP; with the hotel's own relay if wanted."
    )


@pytest.mark.parametrize(
    ("name", "parameters", "error"),
    [
        (
            "residential_isp",
            {"customer": 2},
            "unknown parameter 'customer' of topology residential_isp; did you mean 'customers'? known: customers",
        ),
        (
            "residential_isp",
            {"customers": 3901},
            "topology residential_isp: customers is 3901; allowed is a whole number from 0 to 3900",
        ),
        (
            "residential_isp",
            {"customers": True},
            "topology residential_isp: customers is True; allowed is a whole number from 0 to 3900",
        ),
        ("hotel", {"relay": "yes"}, "topology hotel: relay is 'yes'; allowed are true and false"),
    ],
)
def test_bad_parameters(name: str, parameters: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError) as caught:
        load_topology(name, parameters)
    assert str(caught.value) == f"{catalogue.root()}/topologies/{name}.py: {error}"


HEAD = "from mininet.topo import Topo\nclass Own(Topo):\n    def build(self):\n        "


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x = 1\n", ": no `topos` in the file; topos = {'NAME': TopoSubclass}, as `mn --custom` wants"),
        ("def x(:\n", ":1:7: invalid syntax"),
        ("import nosuchmodule\n", ":1: ModuleNotFoundError: No module named 'nosuchmodule'"),
        (
            f"{HEAD}self.addSwitch('s1')\ntopos = {{'own': Own}}\n",
            ": switch 's1' in the topology; nodes linked point to point, and `bridges` inside a node",
        ),
        (
            f"{HEAD}self.addHost('a', routes=[('10.0.0.1/8', '10.0.0.2')])\ntopos = {{'own': Own}}\n",
            ": node 'a', route '10.0.0.1/8' via '10.0.0.2': 10.0.0.1/8 has host bits set",
        ),
        (
            f"{HEAD}a, b = self.addHost('a'), self.addHost('b')\n"
            "        self.addLink(a, b, intfName1='sixteen-letters-')\ntopos = {'own': Own}\n",
            ": nodes a interfaces 0 name: String should match pattern '^[A-Za-z0-9_.-]{1,15}$' "
            "(got 'sixteen-letters-')",
        ),
    ],
)
def test_bad_files(tmp_path: Path, text: str, error: str) -> None:
    file = tmp_path / "own.py"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_topology(str(file))
    assert str(caught.value) == f"{file}{error}"


RAISES = {
    "sys.exit() as it is read": ("import sys\nsys.exit()\n", ":2: SystemExit; a topology file may not end the program"),
    "an exit code of 0": ("raise SystemExit(0)\n", ":1: SystemExit: 0; a topology file may not end the program"),
    "sys.exit() in build": (
        f"import sys\n{HEAD}sys.exit('no')\ntopos = {{'own': Own}}\n",
        ":5: SystemExit: no; a topology file may not end the program",
    ),
    "any exception in build": (
        f"{HEAD}self.addHost('a')\n        1 / 0\ntopos = {{'own': Own}}\n",
        ":5: ZeroDivisionError: division by zero",
    ),
    "an exception of Mininet": (
        f"{HEAD}self.addLink('a')\ntopos = {{'own': Own}}\n",
        ":4: TypeError: Topo.addLink() missing 1 required positional argument: 'node2'",
    ),
    "no exception by class": (
        "class Odd(BaseException): pass\nraise Odd('over\\ntwo lines')\n",
        ":2: Odd: over two lines",
    ),
    "a text that cannot be made": (
        "class Odd(Exception):\n    def __str__(self): raise self\nraise Odd\n",
        ":3: Odd",
    ),
    "recursion without end": (
        f"{HEAD}self.build()\ntopos = {{'own': Own}}\n",
        ":4: RecursionError: maximum recursion depth exceeded",
    ),
    "a generator's end": ("raise GeneratorExit\n", ":1: GeneratorExit"),
    "a file that changes the path": (
        "import sys, os\nsys.path.clear()\nos.chdir('/')\nraise OSError(13, 'No')\n",
        ":4: PermissionError: [Errno 13] No",
    ),
    "a property": (
        "from mininet.topo import Topo\nclass Own(Topo):\n    @property\n    def sets(self): raise OSError('no')\n"
        "topos = {'own': Own}\n",
        ":4: OSError: no",
    ),
    "routes of another shape": (
        f"{HEAD}self.addHost('a', routes=['default'])\ntopos = {{'own': Own}}\n",
        ": ValueError: too many values to unpack (expected 2)",
    ),
    "a service of another shape": (
        f"{HEAD}self.addHost('a', services=[{{'kind': ['mx']}}])\ntopos = {{'own': Own}}\n",
        ": node 'a': unknown kind of service ['mx']; did you mean 'mx'? known: ",
    ),
    "no parameter where one is optional": (
        f"{HEAD}self.addHost('a', services=[{{'kind': 'mx', 'domains': ['a.example'], 'users': None}}])\n"
        "topos = {'own': Own}\n",
        ": node 'a': 'users' of service 'mx' is None; allowed are users with their passwords",
    ),
    "topos of another shape": (
        "topos = ['own']\n",
        ": no `topos` in the file; topos = {'NAME': TopoSubclass}, as `mn --custom` wants",
    ),
    "no class of Mininet's": (
        "topos = {'own': int}\n",
        ": topos['own'] is <class 'int'>; a subclass of mininet.topo.Topo",
    ),
    "syntax, in code that it makes": ("x = 1\neval('x(')\n", ":2: SyntaxError: '(' was never closed (<string>:1)"),
    "a null byte": ("x = 1\n\0\n", ": "),
    "no UTF-8": ("x = '\udcff'\n", ":1:"),
}


@pytest.mark.parametrize("kind", RAISES)
def test_whatever_a_topology_file_raises_is_bad_input_with_its_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    text, error = RAISES[kind]
    file = tmp_path / "own.py"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(InputError) as caught:
        service_kinds.check(load_topology("own.py"))
    said = str(caught.value).replace(str(file), "own.py")
    assert said.startswith(f"own.py{error}")
    assert "\n" not in said


@pytest.mark.parametrize("name", ["own.py", "./own.py", "../there/own.py", "sub/../own.py"])
def test_the_line_is_found_by_whatever_path_the_file_was_given(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there" / "sub").mkdir(parents=True)
    (tmp_path / "there" / "own.py").write_text("x = 1\n1 / 0\n")
    monkeypatch.chdir(tmp_path / "there")
    for _ in range(2):  # the second time from Python's cache
        with pytest.raises(InputError, match=r"own\.py:2: ZeroDivisionError: division by zero$"):
            load_topology(name)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x = 1\n1 / 0\n", "ZeroDivisionError: division by zero (BESIDE:2)"),
        ("x = 1\nraise SystemExit\n", "SystemExit (BESIDE:2); a topology file may not end the program"),
        ("x = 1\ndef x(:\n", "SyntaxError: invalid syntax (BESIDE:2)"),
        ("x = 1\nimport nosuchmodule\n", "ModuleNotFoundError: No module named 'nosuchmodule' (BESIDE:2)"),
    ],
)
def test_of_a_module_beside_it_both_places_are_said(tmp_path: Path, text: str, error: str) -> None:
    file, beside = tmp_path / "own.py", tmp_path / "beside_own.py"
    file.write_text("x = 1\n\nimport beside_own\n")
    beside.write_text(text)
    with pytest.raises(InputError) as caught:
        load_topology(str(file))
    assert str(caught.value) == f"{file}:3: {error.replace('BESIDE', str(beside))}"


def test_a_signal_to_end_is_no_error_of_the_file_that_runs(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")

    def end(number: int, _: object) -> None:
        raise Interrupted(number)

    before = signal.signal(signal.SIGINT, end)  # as the command has it
    try:
        with pytest.raises(Interrupted):
            load_topology(str(file))
        file.write_text("raise KeyboardInterrupt\n# the file's own\n")
        with pytest.raises(InputError, match=r"own\.py:1: KeyboardInterrupt$"):
            load_topology(str(file))
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as pytest has it
        file.write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n# the user's\n")
        with pytest.raises(KeyboardInterrupt):
            load_topology(str(file))
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_a_topology_file_prints_does_not_get_among_results(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "own.py"
    file.write_text(f"{HEAD}print('built')\nprint('read')\ntopos = {{'own': Own}}\n")
    load_topology(str(file))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "read\nbuilt\n"


def test_a_set_takes_networks_alone(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(f"{HEAD}self.sets = {{'relays': ['10.0.0.1/8']}}\ntopos = {{'own': Own}}\n")
    with pytest.raises(InputError) as caught:
        load_topology(str(file))
    assert str(caught.value).startswith(f"{file}: sets relays 0")
    assert str(caught.value).endswith("(got '10.0.0.1/8')")


def test_the_class_of_the_files_name_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from mininet.topo import Topo\nclass A(Topo): pass\nclass B(Topo):\n    def build(self): self.addHost('b')\n"
        "topos = {'a': A, 'own': B}\n"
    )
    assert list(load_topology(str(file)).nodes) == ["b"]


def test_unknown_topology() -> None:
    with pytest.raises(InputError) as caught:
        load_topology("hotels")
    assert str(caught.value) == (
        "no topology 'hotels'; did you mean 'hotel'? known: access_isps, cloud_vpc, hosting, hotel, internet, "
        "residential_isp, triangular, unusual_customers, "
        "or the path of a Python file"
    )


# -- a file runs once --------------------------------------------------------------------------------------------------

COUNTED = """\
from mininet.topo import Topo
import sides
with open("runs", "a") as runs:
    runs.write("run\\n")
class Own(Topo):
    def build(self, routers: int = 0):
        for name in sides.NAMES:
            self.addHost(name, forward=True)
        for number in range(routers):
            self.addHost(f"r{number}", forward=True)
        self.addLink("a", "b", params1={"ip": "192.0.2.1/30"}, params2={"ip": "192.0.2.2/30"})
topos = {"own": Own}
"""
SCENARIO = "title: T\ntopology: {topology}\nvariants: {{x: {{}}}}\npaths: [{{from: a, to: b, expect: closed}}]\n"


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a topology file that notes each of its runs, and a module beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sides.py").write_text("NAMES = ['a', 'b']\n")
    (tmp_path / "own.py").write_text(COUNTED)
    monkeypatch.delitem(sys.modules, "sides", raising=False)
    return tmp_path


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().splitlines())


def rewrite(file: Path, text: str) -> None:
    """Change a file as an editor does, and its time at once, however coarse the clock of the file system is."""
    changed = file.stat().st_mtime_ns + 2_000_000_000
    file.write_text(text)
    os.utime(file, ns=(changed, changed))


def test_from_scenarios_to_labs_a_topology_file_runs_once(counted: Path) -> None:
    for name, topology in (("one", "own.py"), ("two", "./own.py"), ("three", "{name: own.py, routers: 2}")):
        (counted / f"{name}.yaml").write_text(SCENARIO.format(topology=topology))
    asked = [question for name in ("one", "two", "three") for question in load_questions(f"{name}.yaml")]
    jobs = plan_jobs(asked)
    assert [len(job.config.plan.nodes) for job in jobs] == [2, 4], "by whatever path, it is the same lab"
    assert [needs.need_of(job).networks for job in jobs] == [3, 5]
    assert {counted / "own.py", counted / "sides.py"} <= set(needs.input_files(asked))
    config = lab_config("own.py", {}, {})
    assert question_about(PathSpec(source="a", to="b"), config).config == asked[0].config
    assert runs(counted) == 1


def test_what_was_checked_is_used_though_the_file_changes_meanwhile(counted: Path) -> None:
    config = lab_config("own.py", {}, {})
    rewrite(counted / "own.py", "raise SystemExit\n")
    assert set(config.plan.nodes) == {"a", "b"}
    assert question_about(PathSpec(source="a", to="b"), config).config is config
    with pytest.raises(InputError, match="SystemExit"):
        load_topology("own.py")


@pytest.mark.parametrize("changed", ["own.py", "sides.py"])
def test_a_file_that_has_changed_or_a_module_beside_it_is_run_again(counted: Path, changed: str) -> None:
    before = lab_config("own.py", {}, {})
    more = {"own.py": ("sides.NAMES", "'abc'"), "sides.py": ("'b'", "'b', 'c'")}[changed]
    rewrite(counted / changed, (counted / changed).read_text().replace(*more))
    after = lab_config("own.py", {}, {})
    assert runs(counted) == 2
    assert set(after.plan.nodes) == {"a", "b", "c"}
    assert before != after, "another network is another lab"


def test_a_module_that_others_imported_is_left_to_them(counted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(counted))
    theirs = importlib.import_module("sides")
    load_topology("own.py")
    rewrite(counted / "own.py", COUNTED + "\n")
    load_topology("own.py")
    assert sys.modules["sides"] is theirs


def test_true_is_another_parameter_than_1(counted: Path) -> None:
    assert load_topology("own.py", {"routers": 1}).parameters["routers"] is not True
    assert load_topology("own.py", {"routers": True}).parameters["routers"] is True


def test_a_dataclass_with_postponed_annotations_may_be_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from mininet.topo import Topo\n"
        "@dataclass\nclass Side:\n    name: str\n    count: ClassVar[int] = 1\n"
        "class Own(Topo):\n    def build(self):\n"
        "        @dataclass\n        class Other(Side):\n            more: int = 0\n"
        "        self.addHost(Other('a').name)\ntopos = {'own': Own}\n"
    )
    before = set(sys.modules)
    assert set(load_topology(str(file)).nodes) == {"a"}
    assert not [name for name in set(sys.modules) - before if "own" in name]
