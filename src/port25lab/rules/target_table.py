"""The target modules of iptables: one row for each option, in the order in which ``iptables-save`` prints them."""

from __future__ import annotations

from port25lab.rules import arrange
from port25lab.rules.addresses import host, mac, network_length, prefix_length
from port25lab.rules.extension import Extension, Opt
from port25lab.rules.kinds import limits, nat, packet, system
from port25lab.rules.model import Family
from port25lab.rules.services import port
from port25lab.rules.values import U8, U16, U32, in_quotes, integer, mark_mask, names, one_of, string, word

_4: tuple[Family, ...] = ("ip",)
_6: tuple[Family, ...] = ("ip6",)
_MARKS = (
    Opt("set-xmark", mark_mask), Opt("set-mark", mark_mask), Opt("and-mark", integer()), Opt("or-mark", integer()),
    Opt("xor-mark", integer()),
)  # fmt: skip
_CT_EVENTS = ("new", "related", "destroy", "reply", "assured", "protoinfo", "helper", "mark", "natseqinfo", "secmark")
_RANDOM, _FULLY, _PERSISTENT = Opt("random"), Opt("random-fully"), Opt("persistent")

REJECTIONS = {
    "ip": {
        "icmp-net-unreachable": "net-unreach", "icmp-host-unreachable": "host-unreach",
        "icmp-proto-unreachable": "proto-unreach", "icmp-port-unreachable": "port-unreach",
        "icmp-net-prohibited": "net-prohib", "icmp-host-prohibited": "host-prohib", "tcp-reset": "tcp-rst",
        "icmp-admin-prohibited": "admin-prohib",
    },
    "ip6": {
        "icmp6-no-route": "no-route", "icmp6-adm-prohibited": "adm-prohibited",
        "icmp6-addr-unreachable": "addr-unreach", "icmp6-port-unreachable": "port-unreach", "tcp-reset": "tcp-reset",
        "icmp6-policy-fail": "policy-fail", "icmp6-reject-route": "reject-route",
    },
}  # fmt: skip
"""What REJECT can answer, by family: canonical name and the other name that iptables takes."""


def _rejection(family: str) -> Opt:
    # iptables takes the start of either name; of several that fit, the first.
    known = {name: name for pair in REJECTIONS[family].items() for name in pair}
    canonical = {alias: name for name, alias in REJECTIONS[family].items()}
    default = "icmp-port-unreachable" if family == "ip" else "icmp6-port-unreachable"
    return Opt(
        "reject-with", one_of(aliases={name: canonical.get(name, name) for name in known}, prefix=True), default=default
    )


_ROWS = (
    *(Extension(name) for name in ("ACCEPT", "DROP", "RETURN", "QUEUE")),
    Extension("TRACE", tables=("raw",)),
    Extension("NOTRACK", tables=("raw",)),
    Extension("AUDIT", (Opt("type", one_of("accept", "drop", "reject", fold=True)),), needs=(("type",),)),
    Extension("CHECKSUM", (Opt("checksum-fill"),), needs=(("checksum-fill",),), tables=("mangle",)),
    Extension("CLASSIFY", (Opt("set-class", system.traffic_class),), needs=(("set-class",),)),
    Extension("CLUSTERIP", (
        Opt("new"), Opt("hashmode", one_of("sourceip", "sourceip-sourceport", "sourceip-sourceport-destport")),
        Opt("clustermac", mac), Opt("total-nodes", integer(U16)), Opt("local-node", integer(U16)),
        Opt("hash-init", integer(), default=None),
    ), _4),
    Extension("CONNMARK", (
        *_MARKS, Opt("save-mark"), Opt("restore-mark"), Opt("nfmask", integer(form="x")),
        Opt("ctmask", integer(form="x")), Opt("mask", integer()), Opt("left-shift-mark", integer(32)),
        Opt("right-shift-mark", integer(32)),
    ), arrange=arrange.connmark,
        needs=(("set-xmark", "set-mark", "and-mark", "or-mark", "xor-mark", "save-mark", "restore-mark"),)),
    Extension("CONNSECMARK", (Opt("save"), Opt("restore")), needs=(("save", "restore"),)),
    Extension("CT", (
        Opt("notrack"), Opt("helper", word), Opt("timeout", word), Opt("ctevents", names(_CT_EVENTS)),
        Opt("expevents", names(("new",))), Opt("zone-orig", system.zone), Opt("zone-reply", system.zone),
        Opt("zone", system.zone),
    ), tables=("raw",)),
    Extension("DNAT", (Opt("to-destination", nat.nat_range), _RANDOM, _PERSISTENT), needs=(("to-destination",),),
              tables=("nat",)),
    Extension("DNPT", (Opt("src-pfx", network_length), Opt("dst-pfx", network_length)), _6,
              needs=(("src-pfx",), ("dst-pfx",))),
    Extension("DSCP", (
        Opt("set-dscp", integer(63, form="02x")), Opt("set-dscp-class", packet.dscp_class),
    ), arrange=arrange.renamed(set_dscp_class="set-dscp"), needs=(("set-dscp", "set-dscp-class"),),
        alone=(("set-dscp", "set-dscp-class"),), tables=("mangle",)),
    Extension("ECN", (
        Opt("ecn-tcp-remove"), Opt("ecn-tcp-ece", integer(1)), Opt("ecn-tcp-cwr", integer(1)),
        Opt("ecn-ip-ect", integer(3)),
    ), _4, tables=("mangle",), arrange=arrange.ecn_target, needs=(("ecn-tcp-remove", "ecn-tcp-ece", "ecn-tcp-cwr",
        "ecn-ip-ect"),)),
    Extension("HL", (Opt("hl-set", integer(U8)), Opt("hl-dec", integer(U8, 1)), Opt("hl-inc", integer(U8, 1))), _6,
              needs=(("hl-set", "hl-dec", "hl-inc"),), alone=(("hl-set", "hl-dec", "hl-inc"),), tables=("mangle",)),
    Extension("HMARK", (
        Opt("hmark-src-prefix", prefix_length), Opt("hmark-dst-prefix", prefix_length),
        Opt("hmark-sport-mask", integer(U16, form="04x")), Opt("hmark-dport-mask", integer(U16, form="04x")),
        Opt("hmark-spi-mask", integer(form="08x")), Opt("hmark-sport", integer(U16, form="04x")),
        Opt("hmark-dport", integer(U16, form="04x")), Opt("hmark-spi", integer(form="08x")),
        Opt("hmark-proto-mask", integer(U16, form="02x")), Opt("hmark-rnd", integer(form="08x")),
        Opt("hmark-mod", integer(low=1)), Opt("hmark-offset", integer()), Opt("hmark-tuple", word),
    ), needs=(("hmark-mod",),)),
    Extension("IDLETIMER", (Opt("timeout", integer()), Opt("label", word), Opt("alarm"), Opt("send_nl_msg")),
              needs=(("timeout",), ("label",))),
    Extension("LED", (
        Opt("led-trigger-id", in_quotes), Opt("led-delay", system.seconds_or_forever, hide="0"),
        Opt("led-always-blink"),
    ), needs=(("led-trigger-id",),)),
    Extension("LOG", (
        Opt("log-prefix", string(29, 1)), Opt("log-level", system.log_level, hide="4"), Opt("log-tcp-sequence"),
        Opt("log-tcp-options"), Opt("log-ip-options"), Opt("log-uid"), Opt("log-macdecode"),
    )),
    Extension("MARK", _MARKS, arrange=arrange.set_mark,
              alone=(("set-xmark", "set-mark", "and-mark", "or-mark", "xor-mark"),),
              needs=(("set-xmark", "set-mark", "and-mark", "or-mark", "xor-mark"),)),
    Extension("MASQUERADE", (Opt("to-ports", nat.to_ports), _RANDOM, _FULLY), tables=("nat",)),
    Extension("NETMAP", (Opt("to", packet.full_network),), needs=(("to",),), tables=("nat",)),
    Extension("NFLOG", (
        Opt("nflog-prefix", string(127, 1)), Opt("nflog-group", integer(U16)), Opt("nflog-size", integer()),
        Opt("nflog-range", integer()), Opt("nflog-threshold", integer(U16), hide="0"),
    ), arrange=arrange.nflog),
    Extension("NFQUEUE", (
        Opt("queue-balance", system.queues), Opt("queue-num", integer(U16)), Opt("queue-bypass"),
        Opt("queue-cpu-fanout"),
    ), arrange=arrange.queue, alone=(("queue-num", "queue-balance"),), also=(("queue-cpu-fanout", "queue-balance"),)),
    Extension("RATEEST", (
        Opt("rateest-name", word), Opt("rateest-interval", limits.interval), Opt("rateest-ewmalog", limits.interval),
    ), needs=(("rateest-name",), ("rateest-interval",), ("rateest-ewmalog",))),
    Extension("REDIRECT", (Opt("to-ports", nat.unshifted_ports), _RANDOM), tables=("nat",)),
    Extension("REJECT", (_rejection("ip"),), _4, tables=("filter",)),
    Extension("REJECT", (_rejection("ip6"),), _6, tables=("filter",)),
    Extension("SECMARK", (Opt("selctx", word),), needs=(("selctx",),)),
    Extension("SET", (
        Opt("add-set", system.match_set, words=2), Opt("exist"), Opt("timeout", integer()),
        Opt("del-set", system.match_set, words=2), Opt("map-set", system.match_set, words=2), Opt("map-mark"),
        Opt("map-prio"), Opt("map-queue"),
    ), needs=(("add-set", "del-set", "map-set"),)),
    Extension("SNAT", (Opt("to-source", nat.nat_range), _RANDOM, _FULLY, _PERSISTENT), needs=(("to-source",),),
              tables=("nat",)),
    Extension("SNPT", (Opt("src-pfx", network_length), Opt("dst-pfx", network_length)), _6,
              needs=(("src-pfx",), ("dst-pfx",))),
    Extension("SYNPROXY", (
        Opt("sack-perm"), Opt("timestamp"), Opt("wscale", integer(14)), Opt("mss", integer(U16)), Opt("ecn"),
    ), protocols=(6,)),
    Extension("TCPMSS", (Opt("clamp-mss-to-pmtu"), Opt("set-mss", integer(U16))),
              needs=(("clamp-mss-to-pmtu", "set-mss"),)),
    Extension("TCPOPTSTRIP", (Opt("strip-options", packet.tcp_options),), protocols=(6,), tables=("mangle",)),
    Extension("TEE", (Opt("gateway", host), Opt("oif", word)), needs=(("gateway",),)),
    Extension("TOS", (
        Opt("set-tos", packet.tos), Opt("and-tos", integer(U8)), Opt("or-tos", integer(U8)), Opt("xor-tos",
        integer(U8)),
    ), arrange=arrange.set_tos, needs=(("set-tos", "and-tos", "or-tos", "xor-tos"),),
        alone=(("set-tos", "and-tos", "or-tos", "xor-tos"),), tables=("mangle",)),
    Extension("TPROXY", (Opt("on-port", port), Opt("on-ip", host), Opt("tproxy-mark", mark_mask)),
              arrange=arrange.tproxy, needs=(("on-port",),), protocols=(6, 17), tables=("mangle",)),
    Extension("TTL", (Opt("ttl-set", integer(U8)), Opt("ttl-dec", integer(U8, 1)), Opt("ttl-inc", integer(U8, 1))), _4,
              needs=(("ttl-set", "ttl-dec", "ttl-inc"),), alone=(("ttl-set", "ttl-dec", "ttl-inc"),),
              tables=("mangle",)),
    Extension("ULOG", (
        Opt("ulog-prefix", string(31, 1)), Opt("ulog-nlgroup", integer(32, 1), hide="1"),
        Opt("ulog-cprange", integer(U32), hide="0"), Opt("ulog-qthreshold", integer(50, 1), hide="1"),
    ), _4),
    # Not of iptables itself: xtables-addons. Their options stay words.
    *(Extension(name, opaque=True) for name in (
        "TARPIT", "DELUDE", "STEAL", "CHAOS", "ECHO", "LOGMARK", "ACCOUNT", "IPMARK", "SYSRQ", "DHCPMAC", "PROTO",
        "IPV4OPTSSTRIP", "NETFLOW", "DNETMAP", "COPY",
    )),
)  # fmt: skip

TARGETS: dict[tuple[str, str], Extension] = {(family, row.name): row for row in _ROWS for family in row.families}
"""Target modules by family and name."""
