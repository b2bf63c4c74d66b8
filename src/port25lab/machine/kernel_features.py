"""What the kernel can do, tried in a throwaway sandbox: links, sets, rules, the trace."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import asdict
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any

from port25lab.kernel import ipv6, netlink, nftrace
from port25lab.kernel import namespaces as namespaces_module
from port25lab.kernel.nfqueue import Queue
from port25lab.kernel.own_python import search_path
from port25lab.machine import sandbox_trial
from port25lab.machine.feature import Check, Feature, run

TRACE_SECONDS = 1.0

RESTORE_PROGRAMS = ("iptables-restore", "ip6tables-restore")


def _links() -> str:
    here = namespaces_module.current_network()
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
    if not ipv6.works():
        raise OSError("this kernel has none: paths over IPv4 alone can be tried (-k 'not ipv6')")
    disabled = ipv6.starts_disabled()
    if disabled:
        for name, value in ipv6.ALLOW.items():
            Path("/proc/sys", name).write_text(value)
    with netlink.Rtnetlink() as kernel:
        kernel.send([("IPv6 address", netlink.address(1, IPv6Interface("2001:db8::1/128")))])
    return "an address can be set" + ", once a lab has set disable_ipv6=0 in its own namespaces" * disabled


def _sets() -> str:
    run("ipset", "restore", text="create probe hash:net family inet\ncreate probe6 hash:net family inet6\n")
    for program, name in zip(_restore_programs(), ("probe", "probe6"), strict=False):
        _restore(program, "filter", f"-A FORWARD -m set --match-set {name} src -j DROP")
    return "hash:net, matched by iptables"


def _filters() -> str:
    for program in _restore_programs():
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
    _restore("iptables-restore", "filter", "-A FORWARD -p tcp -j NFQUEUE --queue-num 1")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, netlink.NETLINK_NETFILTER) as kernel:
        Queue(kernel, 1, lambda packet: None)
    return "a queue can be had"


def _netem() -> str:
    run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    return "netem"


def _trace() -> str:
    """Trace one SYN to this host itself, and see the kernel's word on it arrive."""
    run("nft", "-f", "-", text=nftrace.RULES.format(table=nftrace.TABLE, wanted=nftrace.SYNS))
    with netlink.Rtnetlink() as kernel:
        loopback = netlink.address(1, IPv4Interface("127.0.0.1/8"))
        kernel.send([("lo up", netlink.up(1)), ("address of lo", loopback)])
    with nftrace.open_socket() as events, socket.socket() as client:
        events.settimeout(TRACE_SECONDS)
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", 25))
        events.recv(1 << 16)
    return "nftrace events arrive"


def _restore_programs() -> tuple[str, ...]:
    """What loads rules, for each IP version that the kernel has."""
    return RESTORE_PROGRAMS if ipv6.works() else RESTORE_PROGRAMS[:1]


def _restore(program: str, table: str, *rules: str) -> None:
    run(program, "--noflush", text="\n".join((f"*{table}", *rules, "COMMIT", "")))


KERNEL = (
    Feature("links", "hosts and routers joined to one another", _links, modules=("veth", "bridge")),
    Feature("IPv6", "paths over IPv6", _ipv6, ipv6.remedy(), required=False),
    Feature(
        "sets",
        "address sets of policies",
        _sets,
        modules=("nft_compat", "ip_set_hash_net", "xt_set"),
        programs=("ipset", *RESTORE_PROGRAMS),
    ),
    Feature(
        "filters",
        "rules of policies",
        _filters,
        modules=("nft_compat", "xt_multiport", "ipt_REJECT"),
        programs=RESTORE_PROGRAMS,
    ),
    Feature(
        "NAT",
        "hotels, customers' routers, clouds",
        _translation,
        modules=("nft_compat", "xt_nat", "xt_NETMAP"),
        programs=RESTORE_PROGRAMS,
    ),
    Feature("rule trace", "which rule decided", _trace, modules=("nf_tables", "nfnetlink"), programs=("nft",)),
    Feature(
        "rate limits",
        "throttling",
        _limits,
        required=False,
        modules=("xt_hashlimit", "xt_connlimit"),
        programs=RESTORE_PROGRAMS,
    ),
    Feature(
        "NFQUEUE",
        "middleboxes that alter a session",
        _queue,
        required=False,
        modules=("xt_NFQUEUE", "nfnetlink_queue"),
        programs=RESTORE_PROGRAMS,
    ),
    Feature("netem", "delay and loss on links", _netem, required=False, modules=("sch_netem",), programs=("tc",)),
)
"""Tried in a sandbox, where nothing can do harm."""


def try_kernel(names: Sequence[str], user_namespace: bool) -> list[dict[str, Any]]:
    """Try these features in a throwaway sandbox, or all if none is named. Returns checks as data.

    Raises MachineError where no sandbox can be made.
    """
    try:
        checks: list[dict[str, Any]] = sandbox_trial.in_sandbox(
            lambda: _kernel_checks(names), user_namespace=user_namespace
        )
    except OSError as error:
        raise sandbox_trial.sandbox_problem(error, os.geteuid(), user_namespace=user_namespace) from error
    return checks


def examine_kernel(way: sandbox_trial.Way, *names: str) -> list[Check]:
    """Check these features, or all if none is named, in a sandbox that is made in this way."""
    return [Check(**fields) for fields in sandbox_trial.by(way, try_kernel, names, way.user_namespace)]


def _kernel_checks(names: Sequence[str]) -> list[dict[str, Any]]:
    checks = []
    for feature in (feature for feature in KERNEL if not names or feature.name in names):
        if lacking := [name for name in feature.programs if not shutil.which(name, path=search_path())]:
            checks.append(asdict(not_tried(feature, f"there is no {' and no '.join(lacking)}")))
            continue
        try:
            namespaces_module.unshare(namespaces_module.NEWNET)  # the rules of one feature must not affect another
        except OSError as error:
            checks.append(asdict(not_tried(feature, f"no network namespace for it ({sandbox_trial.words(error)})")))
            continue
        checks.append(asdict(feature.examine()))
    return checks


def not_tried(feature: Feature, why: str) -> Check:
    """The check of a feature that could not be tried."""
    text = f"not tried: {why}"
    return Check(feature.name, feature.required, feature.purpose, text, text)
