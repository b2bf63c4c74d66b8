"""Programs and settings of this machine that labs need or can use."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import socket
import ssl
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from port25lab.errors import MachineError
from port25lab.kernel import nftrace
from port25lab.kernel.netlink import NETLINK_NETFILTER
from port25lab.kernel.own_python import search_path
from port25lab.machine import capacity, sandbox_trial
from port25lab.machine.feature import Feature, PackagesError, apt, run
from port25lab.machine.versions import client_version

PYTHON = (3, 11)

NFT = (1, 0)
"""The oldest nft that is accepted. Labs were tried with 1.0.6 (Debian 12) and newer ones."""


def _linux() -> str:
    if platform.system() != "Linux":
        raise OSError(f"this is {platform.system()}, not Linux")
    return platform.release()


def _python() -> str:
    if sys.version_info[:2] < PYTHON:
        raise OSError(f"Python {platform.python_version()} is older than {PYTHON[0]}.{PYTHON[1]}")
    return f"{platform.python_version()}, {sys.executable}"


def _c_library() -> str:
    """glibc: mail programs ask its resolver, and no lab was ever tried with another one's."""
    try:
        found = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):  # this C library does not know the name
        found = None
    if not found:
        remedy = "use Debian or Ubuntu, or the container of recipes/Dockerfile"
        raise MachineError("this Python's C library is not glibc (musl, as on Alpine?)", remedy)
    return found


def _nft() -> str:
    words = run(_program("nft")(), "--version")
    found = re.match(r"nftables v(\d+)\.(\d+)", words)
    if found and (int(found[1]), int(found[2])) < NFT:
        needed = ".".join(map(str, NFT))
        raise MachineError(f"{words} is too old, {needed} is needed", "use Debian 12, Ubuntu 24.04 or newer")
    return words


def _mininet() -> str:
    """Mininet comes with port25lab, from PyPI. Where Debian's is seen, it serves as well."""
    pip = f"{sys.executable} -m pip install"
    if importlib.util.find_spec("mininet") is None:
        raise MachineError("Mininet is not installed for this Python", f"{pip} 'mininet>=2.3.0.dev6'")
    if sys.version_info >= (3, 12) and importlib.util.find_spec("setuptools") is None:
        raise MachineError("Mininet imports distutils, which is missing", f"{pip} setuptools")
    return version("mininet")


def _program(name: str) -> Callable[[], str]:
    """A check that a program is installed."""

    def check() -> str:
        found = shutil.which(name, path=search_path())
        if not found:
            raise OSError(f"{name} is not installed")
        return found

    return check


def _client(name: str) -> Callable[[], str]:
    """A check that a client program is installed; what it finds is the version."""

    def check() -> str:
        _program(name)()
        return client_version(name).split(" (")[0]  # curl goes on with its libraries

    return check


def _nf_tables(name: str, alternative: str) -> Callable[[], str]:
    """A check that iptables is the variant that uses nf_tables: the kernel traces no rules of the legacy variant.

    ``alternative``: the name of the group in update-alternatives(1).
    """

    def check() -> str:
        words = run(_program(name)(), "--version")
        if "nf_tables" not in words:
            raise MachineError(
                f"{name} is not the nf_tables one, whose rules can be traced: {words}",
                f"sudo update-alternatives --set {alternative} /usr/sbin/{alternative}-nft",
            )
        return words

    return check


def _swaks() -> str:
    supported = run(_program("swaks")(), "--support")
    for what, package, names in SWAKS_FEATURES:
        if not any(f"=== {name} supported" in supported for name in names):
            raise PackagesError(f"swaks without {what}", [package])
    return f"{client_version('swaks')}, with TLS and IPv6"


def _postfix() -> str:
    """Postfix with SASL PLAIN, which it needs to log in, and a sandbox in which it can become its own user."""
    found = _client("postfix")()
    if not any(Path("/usr/lib").glob("*/sasl2/libplain.so")):
        raise PackagesError("Postfix cannot log in: there is no SASL PLAIN", ["libsasl2-modules"])
    if os.geteuid() != 0 and sandbox_trial.problem(user_namespace=True) is None:
        raise MachineError(
            "Postfix runs as users of its own, and the sandbox of an ordinary user has no user but root",
            "sudo .venv/bin/port25lab run real/postfix",
        )
    return found


def _socket_buffers() -> str:
    """Ask for the trace's receive buffer, and compare what is granted: net.core.rmem_max limits it (socket(7))."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, nftrace.RECEIVE_BUFFER)
        granted = kernel.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # doubled by the kernel
    if granted < nftrace.RECEIVE_BUFFER:
        raise MachineError(
            f"net.core.rmem_max={granted}, and labs want {nftrace.RECEIVE_BUFFER}: fewer attempts go on at once",
            f"sudo sysctl -w net.core.rmem_max={nftrace.RECEIVE_BUFFER}",
        )
    return f"{granted} bytes granted, as many as labs want (net.core.rmem_max)"


MACHINE = (
    Feature("Linux", "namespaces and netfilter", _linux, "use a Linux machine, such as the one of: vagrant up"),
    Feature("Python", "port25lab itself", _python, packages=("python3",)),
    Feature("C library", "names of mail servers", _c_library, "use Debian or Ubuntu"),
    Feature("OpenSSL", "TLS of labs and of Python's clients", lambda: ssl.OPENSSL_VERSION, "use Debian's Python"),
    Feature("Mininet", "the network of a lab", _mininet, f"{sys.executable} -m pip install 'mininet>=2.3.0.dev6'"),
    Feature("iptables-restore", "policies, IPv4", _nf_tables("iptables-restore", "iptables"), packages=("iptables",)),
    Feature(
        "ip6tables-restore", "policies, IPv6", _nf_tables("ip6tables-restore", "ip6tables"), packages=("iptables",)
    ),
    Feature("nft", "the trace that names rules", _nft, packages=("nftables",)),
    Feature("ipset", "address sets of policies", _program("ipset"), packages=("ipset",)),
)
"""What labs require and a run checks each time: a check takes a millisecond or less."""

SANDBOX = Feature(
    "sandbox",
    "labs apart from this machine's own network",
    lambda: str(sandbox_trial.find()),
    sandbox_trial.CONTAINER_REMEDY,
)


def room_for_largest_lab(way: sandbox_trial.Way) -> tuple[Feature, ...]:
    """Checks that there is room for the largest lab of the catalogue in sandboxes that are made this way."""

    def namespaces() -> str:
        largest = capacity.LARGEST
        found = sandbox_trial.by(way, capacity.make, 1, largest.networks, largest.mounts, way.user_namespace)
        capacity.judge(found, largest)
        return f"{largest.networks} network namespaces made, as {largest.name} takes"

    def files() -> str:
        limit = sandbox_trial.by(way, capacity.raise_descriptors)
        capacity.require_descriptors([capacity.LARGEST], limit)
        return f"{limit} for each lab"

    return (
        Feature("namespaces", "a node of a lab each", namespaces, sandbox_trial.LIMITS["net"].remedy),
        Feature("open files", "sockets of a lab's nodes", files, "ulimit -n 4096"),
    )


ROOM = room_for_largest_lab(sandbox_trial.Way(user_namespace=True))

SWAKS_FEATURES = (
    ("TLS", "libnet-ssleay-perl", ("TLS",)),
    ("IPv6", "libio-socket-inet6-perl", ("IPv6", "IPv4/v6 Socket Transport", "Legacy IPv4/v6 Socket Transport")),
)
"""What a path can need of swaks: its name, the package that has it, and how ``swaks --support`` calls it: the last two
names are those of versions from 2024, which use Perl's own IO::Socket::IP where there is one."""

SWAKS = ("swaks", "libnet-ssleay-perl", "libio-socket-inet6-perl")

NO_DAEMON = "echo 'postfix postfix/main_mailer_type select No configuration' | sudo debconf-set-selections"

POSTFIX = f"{NO_DAEMON} && {apt('--no-remove', 'postfix', 'libsasl2-modules')}"
"""Installs Postfix without a configuration, so that it does not run on this machine itself. Another mail server that is
installed is not removed."""

EXTRAS = (
    Feature(
        "socket buffers",
        "room for the rule trace",
        _socket_buffers,
        f"sudo sysctl -w net.core.rmem_max={nftrace.RECEIVE_BUFFER}",
        required=False,
    ),
    Feature("swaks", "client swaks", _swaks, required=False, packages=SWAKS),
    Feature("curl", "client curl", _client("curl"), required=False, packages=("curl",)),
    Feature("msmtp", "client msmtp", _client("msmtp"), required=False, packages=("msmtp",)),
    Feature("postfix", "client postfix, a mail server of one's own", _postfix, POSTFIX, required=False),
    Feature("tshark", "reading captured packets", _program("tshark"), required=False, packages=("tshark",)),
    Feature("stock Mininet", "mn", _program("mnexec"), required=False, packages=("mininet",)),
    Feature("Open vSwitch", "switches, in mn", _program("ovs-vsctl"), required=False, packages=("openvswitch-switch",)),
)
"""What labs can use, and do not require."""
