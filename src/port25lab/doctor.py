"""What a machine must have to run labs: looked for, and where that is cheap really tried in a throwaway sandbox.

``require`` comes before each run and looks at what takes no time; ``examine`` tries everything and tells about it.
Each feature is a row of a table: its name, what it is for, how to find out, and the command that helps.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import NoReturn

from port25lab import netlink
from port25lab.errors import MachineError
from port25lab.sandbox import entering, ownpython
from port25lab.sandbox import namespaces as ns
from port25lab.sandbox.ownpython import search_path

PYTHON = (3, 11)
DEBIANS_PYTHON = Path("/usr/lib/python3/dist-packages")

PROGRAM_SECONDS = 10.0
TRACE_SECONDS = 1.0
TRACE_BUFFER = 212_992
"""Bytes, as ``trace.RECEIVE_BUFFER``: importing that takes Mininet, which may be missing here."""

TRACE_RULES = """
table inet probe {
    chain leaving {
        type filter hook output priority -350; policy accept;
        tcp flags & syn == syn meta nftrace set 1
    }
}
"""

_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTRACE = 12, 270, 1, 9


@dataclass(frozen=True)
class Finding:
    """What is known of one feature of this machine."""

    name: str
    required: bool
    purpose: str
    text: str
    """What was found, or the problem again."""
    problem: str | None = None
    remedy: str | None = None
    """A command to paste, where there is a problem."""

    @property
    def ok(self) -> bool:
        """Whether labs can use it."""
        return self.problem is None


@dataclass(frozen=True)
class Feature:
    """One thing that labs need or can use."""

    name: str
    purpose: str
    check: Callable[[], str]
    """Says what it found. Raises OSError if there is none, or MachineError where it knows a better remedy."""
    remedy: str
    required: bool = True

    def find(self) -> str:
        """What was found. Raises MachineError."""
        try:
            return self.check()
        except (OSError, subprocess.SubprocessError) as error:
            raise MachineError(_words(error), self.remedy) from error

    def examine(self) -> Finding:
        """The same as a finding."""
        try:
            return Finding(self.name, self.required, self.purpose, self.find())
        except MachineError as error:
            return Finding(self.name, self.required, self.purpose, error.what, error.what, error.remedy)


def require() -> None:
    """Raise MachineError with the first required thing that this machine lacks. Takes a few milliseconds."""
    for feature in MACHINE:
        feature.find()


def require_program(name: str | None, purpose: str) -> None:
    """Raise MachineError where a program is wanted and not on this machine, or cannot work on it."""
    if not name:
        return
    extra = next((extra for extra in EXTRAS if extra.name == name), None)
    if not shutil.which(name, path=search_path()):
        what = f"{purpose} needs the program {name}, which is not on this machine"
        raise MachineError(what, extra.remedy if extra else _apt(name))
    if extra:
        extra.find()


@cache
def require_kernel(name: str, purpose: str) -> None:
    """Raise MachineError where a feature of the kernel is wanted that it does not have. Tried once, in a sandbox."""
    found = next(finding for finding in _examine_kernel(name) if finding.name in (name, NOT_TRIED))
    if found.problem is not None and found.name != NOT_TRIED:
        raise MachineError(f"{purpose} needs {name} of the kernel: {found.problem}", found.remedy or "")


def examine() -> list[Finding]:
    """Everything, tried for real: some hundred milliseconds."""
    sandbox = SANDBOX.examine()
    kernel = _examine_kernel() if sandbox.ok else []
    return [*(feature.examine() for feature in MACHINE), sandbox, *kernel, *(feature.examine() for feature in EXTRAS)]


# -- sandboxes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """A sysctl that can forbid user namespaces."""

    name: str
    forbidding: str
    allowing: str
    for_root_too: bool = False

    def forbids(self, user: int, proc: Path) -> bool:
        """Whether it does so now, to this user."""
        try:
            value = (proc / self.name.replace(".", "/")).read_text().strip()
        except OSError:
            return False  # this kernel has no such setting
        return value == self.forbidding and (self.for_root_too or user != 0)

    @property
    def remedy(self) -> str:
        """Until the next boot."""
        return f"sudo sysctl -w {self.name}={self.allowing}"


SETTINGS = (
    Setting("kernel.unprivileged_userns_clone", "0", "1"),
    *(
        Setting(f"user.max_{kind}_namespaces", "0", "10000", for_root_too=True)
        for kind in ("user", "net", "mnt", "pid", "ipc", "uts")
    ),
    Setting("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
)
CONTAINER_REMEDY = "run outside the container, or start it with: docker run --privileged"


def user_namespaces_problem() -> str | None:
    """Why this user gets no sandbox without sudo, and what allows it; None where one was entered just now."""
    problem = _try_sandbox(user_namespace=True)
    return f"{problem.what} (to allow it: {problem.remedy})" if problem else None


def sudo_works() -> bool:
    """Whether this user is root for the asking, without a password."""
    try:
        done = subprocess.run(
            [ownpython.program("sudo"), "--non-interactive", "true"],
            capture_output=True,
            timeout=PROGRAM_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _try_sandbox(*, user_namespace: bool) -> MachineError | None:
    """Become a sandbox, every step of it: AppArmor lets one unshare, and then refuses to mount."""
    try:
        _in_sandbox(str, user_namespace=user_namespace)
    except OSError as error:
        return _sandbox_problem(_words(error), os.geteuid())
    return None


def _sandbox_problem(failure: str, user: int, proc: Path = Path("/proc/sys")) -> MachineError:
    for setting in SETTINGS:
        if setting.forbids(user, proc):
            return MachineError(f"{setting.name}={setting.forbidding} forbids namespaces", setting.remedy)
    return MachineError(f"{failure}: forbidden, as in a container or by seccomp", CONTAINER_REMEDY)


def _find_sandbox() -> str:
    problem = _try_sandbox(user_namespace=True)
    if problem is None:
        return "user namespaces, no root needed"
    if os.geteuid() == 0 and _try_sandbox(user_namespace=False) is None:
        return f"root's own namespaces; {problem.what}"
    if os.geteuid() != 0 and sudo_works():
        return f"by sudo; {problem.what}"
    raise problem


def _in_sandbox(call: Callable[[], str], *, user_namespace: bool) -> str:
    """What ``call`` says in a sandbox that is gone afterwards. Raises OSError if there is none to be had."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads are no matter: the child takes no locks of theirs
        child = os.fork()
    if child == 0:
        _answer_from_sandbox(writing, call, user_namespace)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = json.loads(pipe.read() or '{"failed": "the sandbox process died"}')
    os.waitpid(child, 0)
    if "failed" in answer:
        raise OSError(answer["failed"])
    return str(answer["said"])


def _answer_from_sandbox(writing: int, call: Callable[[], str], user_namespace: bool) -> NoReturn:
    answer: dict[str, str] | None = None
    try:
        inner = entering.enter(user_namespace)
        if inner:
            os.waitpid(inner, 0)
        else:
            entering.furnish(())
            answer = {"said": call()}
    except Exception as error:
        answer = {"failed": _words(error)}
    finally:
        if answer is not None:
            os.write(writing, json.dumps(answer).encode())
        os._exit(0)


# -- what is looked for ----------------------------------------------------------------------------------------------


def _linux() -> str:
    if platform.system() != "Linux":
        raise OSError(f"this is {platform.system()}, not Linux")
    return platform.release()


def _python() -> str:
    if sys.version_info[:2] < PYTHON:
        raise OSError(f"Python {platform.python_version()} is older than {PYTHON[0]}.{PYTHON[1]}")
    return f"{platform.python_version()}, {sys.executable}"


def _mininet() -> str:
    if importlib.util.find_spec("mininet") is None:
        if not (DEBIANS_PYTHON / "mininet").is_dir():
            raise MachineError("Mininet is not installed", _apt("mininet"))
        folder = sys.prefix if sys.prefix != sys.base_prefix else ".venv"
        raise MachineError(
            f"{sys.executable} does not see Debian's Mininet in {DEBIANS_PYTHON}",
            f"/usr/bin/python3 -m venv --upgrade --system-site-packages {folder}",
        )
    if sys.version_info >= (3, 12) and importlib.util.find_spec("setuptools") is None:
        raise MachineError("Mininet imports distutils, which is missing", f"{sys.executable} -m pip install setuptools")
    return version("mininet")


def _program(name: str) -> Callable[[], str]:
    """A check that a program is there."""

    def check() -> str:
        found = shutil.which(name, path=search_path())
        if not found:
            raise OSError(f"{name} is not installed")
        return found

    return check


def _nf_tables(name: str, alternative: str) -> Callable[[], str]:
    """A check that iptables is the one that talks to nf_tables: the kernel traces no rules of the other."""

    def check() -> str:
        words = _run(_program(name)(), "--version")
        if "nf_tables" not in words:
            raise MachineError(
                f"{name} is not the nf_tables one, whose rules can be traced: {words}",
                f"sudo update-alternatives --set {alternative} /usr/sbin/{alternative}-nft",
            )
        return words

    return check


def _swaks() -> str:
    program = _program("swaks")()
    supported = _run(program, "--support")
    for what, package in (("TLS", "libnet-ssleay-perl"), ("IPv6", "libio-socket-inet6-perl")):
        if f"=== {what} supported" not in supported:
            raise MachineError(f"swaks without {what}", _apt(package))
    return f"{program}, with TLS and IPv6"


def _postfix() -> str:
    """Postfix, with what it takes to log in somewhere; and a sandbox in which it can become its own user."""
    program = _program("postfix")()
    if not any(Path("/usr/lib").glob("*/sasl2/libplain.so")):
        raise MachineError("Postfix cannot log in: there is no SASL PLAIN", _apt("libsasl2-modules"))
    if os.geteuid() != 0 and user_namespaces_problem() is None:
        raise MachineError(
            "Postfix runs as users of its own, and the sandbox of an ordinary user has no user but root",
            "sudo .venv/bin/port25lab run real/postfix",
        )
    return program


def _socket_buffers() -> str:
    """Ask for the buffer that the trace asks for, and see what is granted: net.core.rmem_max caps it (socket(7))."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as kernel:
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TRACE_BUFFER)
        granted = kernel.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # doubled by the kernel
    if granted < TRACE_BUFFER:
        raise MachineError(
            f"net.core.rmem_max={granted}, and labs want {TRACE_BUFFER}: fewer attempts go on at once",
            f"sudo sysctl -w net.core.rmem_max={TRACE_BUFFER}",
        )
    return f"{granted} bytes granted, as many as labs want (net.core.rmem_max)"


def _apt(package: str) -> str:
    return f"sudo apt-get install --no-install-recommends {package}"


MACHINE = (
    Feature("Linux", "namespaces and netfilter", _linux, "use a Linux machine, such as the one of: vagrant up"),
    Feature("Python", "port25lab itself", _python, _apt("python3")),
    Feature("Mininet", "the network of a lab", _mininet, _apt("mininet")),
    Feature("iptables-restore", "policies, IPv4", _nf_tables("iptables-restore", "iptables"), remedy=_apt("iptables")),
    Feature(
        "ip6tables-restore", "policies, IPv6", _nf_tables("ip6tables-restore", "ip6tables"), remedy=_apt("iptables")
    ),
    Feature("nft", "the trace that names rules", _program("nft"), _apt("nftables")),
    Feature("ipset", "address sets of policies", _program("ipset"), _apt("ipset")),
)
"""What is required, and looked for in no time."""

SANDBOX = Feature("sandbox", "labs apart from this machine's own network", _find_sandbox, CONTAINER_REMEDY)

SWAKS = "swaks libnet-ssleay-perl libio-socket-inet6-perl"
NO_DAEMON = "echo 'postfix postfix/main_mailer_type select No configuration' | sudo debconf-set-selections"
POSTFIX = f"{NO_DAEMON} && {_apt('--no-remove postfix libsasl2-modules')}"
"""Without a configuration nothing of it runs on this machine itself. Another mail server on it is not thrown out."""

EXTRAS = (
    Feature(
        "socket buffers",
        "room for the rule trace",
        _socket_buffers,
        f"sudo sysctl -w net.core.rmem_max={TRACE_BUFFER}",
        required=False,
    ),
    Feature("swaks", "client swaks", _swaks, _apt(SWAKS), required=False),
    Feature("curl", "client curl", _program("curl"), _apt("curl"), required=False),
    Feature("msmtp", "client msmtp", _program("msmtp"), _apt("msmtp"), required=False),
    Feature("postfix", "client postfix, a mail server of one's own", _postfix, POSTFIX, required=False),
    Feature("tshark", "reading captured packets", _program("tshark"), _apt("tshark"), required=False),
    Feature("Open vSwitch", "switches, in mn", _program("ovs-vsctl"), _apt("openvswitch-switch"), required=False),
)
"""What makes more possible."""


# -- what is tried in the kernel -------------------------------------------------------------------------------------


def _links() -> str:
    here = ns.current_network()
    with netlink.Rtnetlink() as kernel:
        kernel.send(
            [
                ("veth pair", netlink.veth("one", 100, here, "two", 101, here)),
                ("bridge", netlink.bridge("bridge", 102)),
                ("bridge port", netlink.enslave(100, 102)),
            ]
        )
    return "veth pairs and bridges"


def _ipv6() -> str:
    with netlink.Rtnetlink() as kernel:
        kernel.send([("IPv6 address", netlink.address(1, IPv6Interface("2001:db8::1/128")))])
    return "an address can be set"


def _sets() -> str:
    _run("ipset", "restore", text="create probe hash:net family inet\ncreate probe6 hash:net family inet6\n")
    for program, name in (("iptables-restore", "probe"), ("ip6tables-restore", "probe6")):
        _restore(program, "filter", f"-A FORWARD -m set --match-set {name} src -j DROP")
    return "hash:net, matched by iptables"


def _filters() -> str:
    for program in ("iptables-restore", "ip6tables-restore"):
        _restore(program, "filter", "-A FORWARD -p tcp -m multiport --dports 25,465 -j REJECT --reject-with tcp-reset")
    return "REJECT, multiport"


def _translation() -> str:
    _restore(
        "iptables-restore",
        "nat",
        "-A POSTROUTING -j MASQUERADE",
        "-A POSTROUTING -j NETMAP --to 192.0.2.0/24",
        "-A PREROUTING -p tcp --dport 25 -j DNAT --to-destination 192.0.2.1",
    )
    return "MASQUERADE, NETMAP, DNAT"


def _limits() -> str:
    _restore(
        "iptables-restore",
        "filter",
        "-A FORWARD -p tcp -m hashlimit --hashlimit-name probe --hashlimit-mode srcip --hashlimit-above 5/min -j DROP",
        "-A FORWARD -p tcp --syn -m connlimit --connlimit-above 5 -j DROP",
    )
    return "hashlimit, connlimit"


def _queue() -> str:
    from port25lab.services.middleboxes.nfqueue import Queue

    _restore("iptables-restore", "filter", "-A FORWARD -p tcp -j NFQUEUE --queue-num 1")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as kernel:
        Queue(kernel, 1, lambda packet: None)
    return "a queue can be had"


def _netem() -> str:
    _run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    return "netem"


def _trace() -> str:
    """Trace one SYN to this host itself, and see the kernel's word on it arrive."""
    _run("nft", "-f", "-", text=TRACE_RULES)
    with netlink.Rtnetlink() as kernel:
        loopback = netlink.address(1, IPv4Interface("127.0.0.1/8"))
        kernel.send([("lo up", netlink.up(1)), ("address of lo", loopback)])
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as events, socket.socket() as client:
        events.bind((0, 0))
        events.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTRACE)
        events.settimeout(TRACE_SECONDS)
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", 25))
        events.recv(1 << 16)
    return "nftrace events arrive"


def _restore(program: str, table: str, *rules: str) -> None:
    _run(program, "--noflush", text="\n".join((f"*{table}", *rules, "COMMIT", "")))


def _modules(*names: str) -> str:
    return f"sudo modprobe --all {' '.join(names)}"


IPV6_REMEDY = "sudo sed -i s/ipv6.disable=1// /etc/default/grub && sudo update-grub && sudo reboot"

KERNEL = (
    Feature("links", "hosts and routers joined to one another", _links, _modules("veth", "bridge")),
    Feature("IPv6", "every path over both IP versions", _ipv6, IPV6_REMEDY),
    Feature("sets", "address sets of policies", _sets, _modules("nft_compat", "ip_set_hash_net", "xt_set")),
    Feature("filters", "rules of policies", _filters, _modules("nft_compat", "xt_multiport", "ipt_REJECT")),
    Feature("NAT", "hotels, customers' routers, clouds", _translation, _modules("nft_compat", "xt_nat", "xt_NETMAP")),
    Feature("rule trace", "which rule decided", _trace, _modules("nf_tables", "nfnetlink")),
    Feature("rate limits", "throttling", _limits, _modules("xt_hashlimit", "xt_connlimit"), required=False),
    Feature(
        "NFQUEUE", "middleboxes that alter a session", _queue, _modules("xt_NFQUEUE", "nfnetlink_queue"), required=False
    ),
    Feature("netem", "delay and loss on links", _netem, _modules("sch_netem"), required=False),
)
"""Tried in a sandbox, where nothing can do harm."""


NOT_TRIED = "kernel"
"""The finding in place of all others where no sandbox is to be had."""


def _examine_kernel(*names: str) -> list[Finding]:
    """What was found of these features; of all, if none is named."""
    for user_namespace in (True, False):
        try:
            findings = _in_sandbox(lambda: _kernel_findings(names), user_namespace=user_namespace)
        except OSError:
            continue
        return [Finding(**fields) for fields in json.loads(findings)]
    problem, remedy = "not tried: that takes root here", f"sudo {sys.executable} -P -m port25lab doctor"
    return [Finding(NOT_TRIED, False, "links and rules", problem, problem, remedy)]


def _kernel_findings(names: Sequence[str]) -> str:
    findings = []
    for feature in (feature for feature in KERNEL if not names or feature.name in names):
        ns.unshare(ns.NEWNET)  # none of them meets the rules of another
        findings.append(asdict(feature.examine()))
    return json.dumps(findings)


# -- shared ----------------------------------------------------------------------------------------------------------


def _run(*argv: str, text: str = "") -> str:
    """What a program says. Raises OSError with its own words if it fails."""
    done = subprocess.run(
        argv,
        input=text,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
        env=os.environ | {"PATH": search_path()},
    )
    if done.returncode:
        raise OSError(f"{argv[0]}: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


def _words(error: Exception) -> str:
    """An error in a few words: of an OSError what was tried and the kernel's answer."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
