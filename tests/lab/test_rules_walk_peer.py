"""A walk beside the kernel's own: random rules, packets that are really sent, and the counters of each rule."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from kernel_listing import OUT, Kernel, missing
from port25lab.rules import Packet, Ruleset, parse, parse_listing, walk

SEEDS = range(40)
PACKETS = 10
CHAINS = ("A", "B", "C", "D")


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    if reason := missing():
        pytest.skip(f"iptables cannot be asked on this machine: {reason}")
    one = Kernel()
    yield one
    one.close()


def matches(chance: random.Random) -> str:
    """A few tests of a packet, many of which hold now and then."""
    protocol = chance.choice(["", "", "-p tcp", "-p udp", "! -p udp", "-p icmp", "-p tcp", "-p udp"])
    known = [
        "-s 10.9.0.0/24", "! -s 10.9.0.1", "-d 10.9.0.0/29", "! -d 10.9.0.4/30", "-d 0.0.0.5/0.0.0.5",
        f"-o {OUT}", "-o o+", "! -o out0",
        "-m mark --mark 1/1", "-m mark ! --mark 2/3", "-m mark --mark 0", "-m connmark --mark 1/1",
        "-m connmark ! --mark 0",
        "-m tos --tos 0x10/0x10", "-m dscp --dscp 4", "-m dscp ! --dscp-class cs1", "-m ttl --ttl-gt 30",
        "-m ttl --ttl-lt 40",
        "-m length --length 20:40", "-m length ! --length 30", "-m iprange --dst-range 10.9.0.3-10.9.0.5",
        "-m conntrack --ctstate NEW", "-m conntrack ! --ctstate NEW,RELATED", "-m state --state ESTABLISHED",
        "-m ecn --ecn-ip-ect 1",
    ]  # fmt: skip
    ports = ["--sport 1000:1500", "--dport 25", "! --dport 25:100", "--dport :587", "--sport 1200: --dport 25:"]
    many = [
        "-m multiport --dports 25,465,587",
        "-m multiport ! --ports 25,1000:1300",
        "-m multiport --sports 1000:1400",
    ]
    more = {
        "-p tcp": [*ports, *many, "--syn", "! --syn", "--tcp-flags SYN,ACK ACK", "! --tcp-flags ALL SYN"],
        "-p udp": [*ports, *many],
        "-p icmp": ["--icmp-type 8", "! --icmp-type 3/1", "--icmp-type any"],
    }.get(protocol, [])
    chosen = chance.sample(known, chance.randint(0, 2))
    chosen = [
        one
        for number, one in enumerate(chosen)
        if not any(one.split()[-2] == other.split()[-2] for other in chosen[:number])
    ]
    extra = chance.sample(more, min(len(more), chance.randint(0, 1)))
    return " ".join(filter(None, [*chosen, protocol, *extra]))


def target(chance: random.Random, table: str, chains: tuple[str, ...]) -> str:
    """A target that the table takes; chains that may be jumped to make no loop."""
    known = ["", "-j LOG", "-j NFLOG", "-j RETURN", "-j ACCEPT", "-j DROP", "-j MARK --set-mark 1",
             "-j MARK --or-mark 2",
             "-j MARK --xor-mark 3", "-j MARK --and-mark 1", "-j CONNMARK --set-mark 1", "-j CONNMARK --save-mark",
             "-j CONNMARK --restore-mark", "-j CONNMARK --restore-mark --nfmask 2 --ctmask 1"]  # fmt: skip
    if table == "mangle":
        known += [
            "-j TOS --set-tos 0x10/0x3f",
            "-j TOS --xor-tos 0x13",
            "-j DSCP --set-dscp 4",
            "-j TTL --ttl-dec 20",
            "-j TTL --ttl-set 35",
        ]
    if table == "nat":
        known = ["", "-j LOG", "-j RETURN", "-j ACCEPT", "-j MARK --set-mark 1", "-j CONNMARK --set-mark 1"]
        known += [f"-j DNAT --to-destination 10.9.0.{host}" for host in range(2, 6)]
    if table == "raw":
        known += ["-j CT --notrack", "-j NOTRACK"]
    jumps = [f"-{letter} {chain}" for chain in chains for letter in "jjg"]
    return chance.choice(jumps) if jumps and chance.random() < 0.4 else chance.choice(known)


def rules(chance: random.Random) -> str:
    """A ruleset for packets that this machine sends."""
    text = ""
    hooks_of = {"raw": ["OUTPUT"], "mangle": ["OUTPUT", "POSTROUTING"], "nat": ["OUTPUT"], "filter": ["OUTPUT"]}
    for table, hooks in hooks_of.items():
        lines = [f"*{table}", *(f":{chain} - [0:0]" for chain in CHAINS)]
        if chance.random() < 0.3 and table != "nat":
            lines.append(":OUTPUT DROP [0:0]")
        for place, chain in enumerate((*hooks, *CHAINS)):
            reach = CHAINS if place < len(hooks) else CHAINS[place - len(hooks) + 1 :]
            for _ in range(chance.randint(2, 7)):
                line = f"-A {chain} {matches(chance)} {target(chance, table, reach)}"
                if table != "filter" and "-j DROP" in line and chance.random() < 0.7:
                    continue
                lines.append(line)
        text += "\n".join([*lines, "COMMIT", ""])
    return text


def packet(chance: random.Random, number: int) -> tuple[Packet, bytes]:
    """A packet as the model has it, and its bytes. Each is the first of a connection of its own."""
    protocol = chance.choice([6, 6, 17, 17, 1])
    source_port, destination_port = 1000 + number, chance.choice([25, 53, 465, 587, 2525])
    tos, ttl, flags = chance.choice([0, 0x10, 0x11, 0x20, 0x90]), chance.choice([20, 35, 64]), chance.choice([2, 16])
    size = chance.choice([0, 2, 20])
    ports = struct.pack(">HH", source_port, destination_port)
    body = {
        6: ports + struct.pack(">IIBBHHH", number, 0, 5 << 4, flags, 1000, 0, 0),
        17: ports + struct.pack(">HH", 8 + size, 0),
        1: struct.pack(">BBHHH", 8, 0, 0, number, 1),
    }[protocol] + bytes(size)
    if protocol != 17:
        body = _summed(
            body, protocol, (source := IPv4Address("10.9.0.1")), (sink := IPv4Address(f"10.9.0.{chance.randint(2, 7)}"))
        )
    else:
        source, sink = IPv4Address("10.9.0.1"), IPv4Address(f"10.9.0.{chance.randint(2, 7)}")
    header = struct.pack(">BBHHHBBH4s4s", 0x45, tos, 20 + len(body), 0, 0, ttl, protocol, 0, source.packed, sink.packed)
    seen = Packet(
        "ip",
        source,
        sink,
        protocol,
        source_port=source_port if protocol != 1 else None,
        destination_port=destination_port if protocol != 1 else None,
        out_interface=OUT,
        tcp_flags=flags if protocol == 6 else None,
        icmp=(8, 0) if protocol == 1 else None,
        tos=tos,
        ttl=ttl,
        length=20 + len(body),
        mark=chance.choice([0, 0, 1, 2, 3]),
    )
    return seen, header + body


def _summed(body: bytes, protocol: int, source: IPv4Address, sink: IPv4Address) -> bytes:
    """The body with its checksum: connection tracking calls others INVALID."""
    head = b"" if protocol == 1 else source.packed + sink.packed + struct.pack(">BBH", 0, protocol, len(body))
    data = head + body + bytes(len(body) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    place = 2 if protocol == 1 else 16
    return body[:place] + struct.pack(">H", ~total & 0xFFFF) + body[place + 2 :]


def counted(before: Ruleset, after: Ruleset) -> list[str]:
    """The rules whose counters a packet has moved, each as often as it met them."""
    return [
        f"{new.table} {new}"
        for old, new in zip(before.rules(), after.rules(), strict=True)
        for _ in range(new.counters[0] - old.counters[0])
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_walk_meets_the_rules_that_the_kernel_counts(kernel: Kernel, seed: int) -> None:
    chance = random.Random(seed)
    text = rules(chance)
    listing = kernel.load("ip", text)
    assert not listing.refused
    assert parse(text, "ip").save()
    packets = [packet(chance, seed * PACKETS + number) for number in range(PACKETS)]
    listings = [
        parse_listing(saved, "ip") for saved in kernel.send("ip", [(data, seen.mark or 0) for seen, data in packets])
    ]
    for (seen, _), before, after in zip(packets, listings, listings[1:], strict=False):
        found = walk(before, seen, "output")
        assert found.certain is not None, f"{seen}: {[one.assumed for one in found.outcomes]}\n{text}"
        met = [f"{step.rule.table} {step.rule}" for step in found.certain.steps if step.matched]
        assert sorted(met) == sorted(counted(before, after)), f"{seen}\n{text}"
