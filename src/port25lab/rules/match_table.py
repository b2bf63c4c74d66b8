"""The match modules of iptables: one row for each option, in the order in which ``iptables-save`` prints them."""

from __future__ import annotations

from port25lab.rules import arrange
from port25lab.rules.addresses import host, host_mask, mac, prefix_length
from port25lab.rules.extension import Extension, Opt, plain
from port25lab.rules.kinds import clock, content, limits, packet, system
from port25lab.rules.model import Family
from port25lab.rules.services import port, port_list, ports, protocol, strict_ports
from port25lab.rules.values import U8, U16, U64, in_quotes, integer, mark_mask, names, one_of, span, string, word

CONNTRACK_STATES = ("INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT")
_ALL_PORTS = "0:65535"
_ALL_SPI = "0:4294967295"
_PORTS = (Opt("sport", ports, ("source-port",)), Opt("dport", ports, ("destination-port",)))
_HIDDEN_PORTS = tuple(option._replace(hide=_ALL_PORTS) for option in _PORTS)
_STRICT_PORTS = tuple(option._replace(kind=strict_ports) for option in _PORTS)
_ADDRESS_TYPES = (
    "UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT",
    "THROW", "NAT", "XRESOLVE",
)  # fmt: skip
_DCCP_TYPES = (
    "REQUEST",
    "RESPONSE",
    "DATA",
    "ACK",
    "DATAACK",
    "CLOSEREQ",
    "CLOSE",
    "RESET",
    "SYNC",
    "SYNCACK",
    "INVALID",
)
_STATUS = ("EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED")
_STATES = names(CONNTRACK_STATES, prefix=True)
_DIRECTION = one_of("ORIGINAL", "REPLY", fold=True)
_HASH_MODE = names(("srcip", "srcport", "dstip", "dstport"))
_4: tuple[Family, ...] = ("ip",)
_6: tuple[Family, ...] = ("ip6",)

_ROWS = (
    Extension("addrtype", (
        Opt("src-type", names(_ADDRESS_TYPES, prefix=True)), Opt("dst-type", names(_ADDRESS_TYPES, prefix=True)),
        plain("limit-iface-in"), plain("limit-iface-out"),
    ), needs=(("src-type", "dst-type"),), alone=(("limit-iface-in", "limit-iface-out"),)),
    Extension("ah", (Opt("ahspi", span(0xFFFFFFFF), hide=_ALL_SPI),), _4, protocols=(51,)),
    Extension("ah", (
        Opt("ahspi", span(0xFFFFFFFF), hide=_ALL_SPI), Opt("ahlen", integer()), plain("ahres"),
    ), _6),
    Extension("bpf", (plain("bytecode", content.bytecode), plain("object-pinned", word))),
    Extension("cgroup", (Opt("path", string()), Opt("cgroup", integer())), needs=(("path", "cgroup"),)),
    Extension("cluster", (
        Opt("cluster-local-node", integer(32, 1)), Opt("cluster-local-nodemask", integer(form="08x")),
        plain("cluster-total-nodes", integer(32, 1)), plain("cluster-hash-seed", integer(form="08x")),
    ), arrange=arrange.cluster, needs=(("cluster-total-nodes",), ("cluster-hash-seed",))),
    Extension("comment", (plain("comment", string(255)),), needs=(("comment",),)),
    Extension("connbytes", (
        Opt("connbytes", limits.first_only), plain("connbytes-mode", one_of("packets", "bytes", "avgpkt")),
        plain("connbytes-dir", one_of("original", "reply", "both")),
    ), arrange=arrange.connbytes, needs=(("connbytes",), ("connbytes-dir",), ("connbytes-mode",))),
    Extension("connlabel", (Opt("label", in_quotes), plain("set"))),
    Extension("connlimit", (
        Opt("connlimit-upto", integer()), Opt("connlimit-above", integer()), plain("connlimit-mask", prefix_length),
        plain("connlimit-saddr"), plain("connlimit-daddr"),
    ), arrange=arrange.connlimit, needs=(("connlimit-above", "connlimit-upto"),),
        alone=(("connlimit-upto", "connlimit-above"), ("connlimit-saddr", "connlimit-daddr"))),
    Extension("connmark", (Opt("mark", mark_mask),), needs=(("mark",),)),
    Extension("conntrack", (
        Opt("ctstate", _STATES), Opt("ctproto", protocol), Opt("ctorigsrc", host_mask), Opt("ctorigdst", host_mask),
        Opt("ctreplsrc", host_mask), Opt("ctrepldst", host_mask), Opt("ctorigsrcport", ports),
        Opt("ctorigdstport", ports), Opt("ctreplsrcport", ports), Opt("ctrepldstport", ports),
        Opt("ctstatus", names(_STATUS, prefix=True, nothing="NONE")), Opt("ctexpire", span(0xFFFFFFFF)),
        plain("ctdir", _DIRECTION),
    ), some="conntrack: At least one option is required"),
    Extension("cpu", (Opt("cpu", integer()),), needs=(("cpu",),)),
    Extension("dccp", (*_PORTS, Opt("dccp-types", names(_DCCP_TYPES)), Opt("dccp-option", integer(U8, 1))),
        protocols=(33,)),
    Extension("devgroup", (Opt("src-group", system.number_or_name), Opt("dst-group", system.number_or_name))),
    Extension("dscp", (
        Opt("dscp", integer(63, form="02x")), Opt("dscp-class", packet.dscp_class),
    ), arrange=arrange.renamed(dscp_class="dscp"), needs=(("dscp", "dscp-class"),), alone=(("dscp", "dscp-class"),)),
    Extension("dst", (Opt("dst-len", integer()), plain("dst-opts", packet.header_options)), _6),
    Extension("ecn", (Opt("ecn-tcp-ece"), Opt("ecn-tcp-cwr"), Opt("ecn-ip-ect", integer(3)))),
    Extension("esp", (Opt("espspi", span(0xFFFFFFFF), hide=_ALL_SPI),), protocols=(50,)),
    Extension("eui64", (), _6),
    Extension("frag", (
        Opt("fragid", span(0xFFFFFFFF), hide=_ALL_SPI), Opt("fraglen", integer()), plain("fragres"), plain("fragfirst"),
        plain("fragmore"), plain("fraglast"),
    ), _6, alone=(("fragmore", "fraglast"),)),
    Extension("hashlimit", (
        Opt("hashlimit-upto", limits.limit_bytes_or_packets, ("hashlimit",)),
        Opt("hashlimit-above", limits.limit_bytes_or_packets), plain("hashlimit-burst", word),
        plain("hashlimit-mode", _HASH_MODE), plain("hashlimit-name", word),
        plain("hashlimit-htable-size", integer(), hide="0"), plain("hashlimit-htable-max", integer(), hide="0"),
        plain("hashlimit-htable-gcinterval", integer(), hide="1000"), plain("hashlimit-htable-expire", integer()),
        plain("hashlimit-srcmask", prefix_length), plain("hashlimit-dstmask", prefix_length),
        plain("hashlimit-rate-match"), plain("hashlimit-rate-interval", integer()),
    ), arrange=arrange.hashlimit, needs=(("hashlimit-name",),), alone=(("hashlimit-upto", "hashlimit-above"),)),
    Extension("hbh", (Opt("hbh-len", integer()), plain("hbh-opts", packet.header_options)), _6),
    Extension("helper", (Opt("helper", string()),), needs=(("helper",),)),
    Extension("hl", (
        plain("hl-lt", integer(U8)), plain("hl-gt", integer(U8)), Opt("hl-eq", integer(U8), ("hl",)),
    ), _6, needs=(("hl-eq", "hl-lt", "hl-gt"),), alone=(("hl-eq", "hl-lt", "hl-gt"),)),
    Extension("icmp", (Opt("icmp-type", packet.icmp_type, default="any"),), _4, protocols=(1,)),
    Extension("icmp6", (Opt("icmpv6-type", packet.icmpv6_type),), _6, needs=(("icmpv6-type",),), protocols=(58,)),
    Extension("ipcomp", (Opt("ipcompspi", span(0xFFFFFFFF), hide=_ALL_SPI), plain("compres")), protocols=(108,)),
    Extension("iprange", (
        Opt("src-range", packet.address_range), Opt("dst-range", packet.address_range),
    ), needs=(("src-range", "dst-range"),)),
    Extension("ipv6header", (Opt("header", packet.extension_headers), plain("soft")), _6, needs=(("header",),)),
    Extension("ipvs", (
        Opt("ipvs"), Opt("vproto", protocol), Opt("vaddr", host_mask), Opt("vport", port), plain("vdir", _DIRECTION),
        Opt("vmethod", one_of("GATE", "IPIP", "MASQ", fold=True)), Opt("vportctl", port),
    )),
    Extension("length", (Opt("length", span(U16)),), needs=(("length",),)),
    Extension("limit", (
        plain("limit", limits.rate(10_000), default="3/hour"),
        plain("limit-burst", integer(10_000), hide="5"),
    ), arrange=arrange.limit),
    Extension("mac", (Opt("mac-source", mac),), needs=(("mac-source",),)),
    Extension("mark", (Opt("mark", mark_mask),), needs=(("mark",),)),
    Extension("mh", (Opt("mh-type", packet.mobility_type, hide="0:255"),), _6, protocols=(135,)),
    Extension("multiport", (
        Opt("sports", port_list, ("source-ports",)), Opt("dports", port_list, ("destination-ports",)),
        Opt("ports", port_list),
    ), needs=(("dports", "sports", "ports"),), alone=(("dports", "sports", "ports"),),
        protocols=(6, 17, 136, 132, 33)),
    Extension("nfacct", (plain("nfacct-name", word),), needs=(("nfacct-name",),)),
    Extension("osf", (Opt("genre", word), plain("ttl", integer(2)), plain("log", integer(2))), _4, needs=(("genre",),)),
    Extension("owner", (
        Opt("socket-exists"), Opt("uid-owner", system.user), Opt("gid-owner", system.group), plain("suppl-groups"),
    ), needs=(("uid-owner", "gid-owner", "socket-exists"),)),
    Extension("physdev", (
        Opt("physdev-is-in"), Opt("physdev-in", word), Opt("physdev-is-out"), Opt("physdev-out", word),
        Opt("physdev-is-bridged"),
    ), needs=(("physdev-in", "physdev-out", "physdev-is-in", "physdev-is-out", "physdev-is-bridged"),)),
    Extension("pkttype", (
        Opt("pkt-type", one_of("unicast", "broadcast", "multicast", aliases={"bcast": "broadcast", "mcast": "multicast",
            "host": "unicast"}, fold=True)),
    ), needs=(("pkt-type",),)),
    Extension("policy", (
        plain("dir", one_of("in", "out")), plain("pol", one_of("ipsec", "none")), plain("strict"),
        Opt("reqid", integer(), many=True), Opt("spi", integer(form="x"), many=True),
        Opt("proto", packet.named_protocol, many=True), Opt("mode", one_of("transport", "tunnel"), many=True),
        Opt("tunnel-dst", host_mask, many=True), Opt("tunnel-src", host_mask, many=True), plain("next", many=True),
    ), sequence=arrange.policy),
    Extension("quota", (Opt("quota", integer(U64)),), needs=(("quota",),)),
    Extension("rateest", (
        Opt("rateest1", word, ("rateest",)), Opt("rateest2", word), Opt("rateest-bps1", limits.bits_per_second,
        optional=True),
        Opt("rateest-pps1", integer(), optional=True), Opt("rateest-bps2", limits.bits_per_second, ("rateest-bps",),
        optional=True),
        Opt("rateest-pps2", integer(), ("rateest-pps",), optional=True), Opt("rateest-delta"), Opt("rateest-lt"),
        Opt("rateest-gt"),
        Opt("rateest-eq"),
    ), sequence=arrange.rateest),
    Extension("realm", (Opt("realm", system.number_or_name),), _4, needs=(("realm",),)),
    Extension("recent", (
        Opt("set"), Opt("rcheck"), Opt("update"), Opt("remove"), plain("seconds", integer(low=1)), plain("reap"),
        plain("hitcount", integer()), plain("rttl"), plain("name", word), plain("mask", host), plain("rsource"),
        plain("rdest"),
    ), arrange=arrange.recent, needs=(("set", "rcheck", "update", "remove"),),
        alone=(("set", "rcheck", "update", "remove"), ("set", "rttl"), ("remove", "rttl")), also=(("reap",
        "seconds"),)),
    Extension("rpfilter", (plain("loose"), plain("validmark"), plain("accept-local"), plain("invert"))),
    Extension("rt", (
        Opt("rt-type", integer()), Opt("rt-segsleft", span(0xFFFFFFFF), hide=_ALL_SPI), Opt("rt-len", integer()),
        plain("rt-0-res"), plain("rt-0-addrs", packet.address_list), plain("rt-0-not-strict"),
    ), _6),
    Extension("sctp", (*_STRICT_PORTS, Opt("chunk-types", packet.sctp_chunks, words=2)), protocols=(132,)),
    Extension("set", (
        Opt("match-set", system.match_set, ("set",), words=2), plain("return-nomatch"), Opt("update-counters"),
        Opt("update-subcounters"), Opt("packets-eq", integer(U64)), Opt("packets-lt", integer(U64)),
        Opt("packets-gt", integer(U64)), Opt("bytes-eq", integer(U64)), Opt("bytes-lt", integer(U64)),
        Opt("bytes-gt", integer(U64)),
    ), needs=(("match-set",),)),
    Extension("socket", (plain("transparent"), plain("nowildcard"), plain("restore-skmark"))),
    Extension("srh", (
        Opt("srh-next-hdr", protocol), Opt("srh-hdr-len-eq", integer(U8)), Opt("srh-hdr-len-gt", integer(U8)),
        Opt("srh-hdr-len-lt", integer(U8)), Opt("srh-segs-left-eq", integer(U8)), Opt("srh-segs-left-gt", integer(U8)),
        Opt("srh-segs-left-lt", integer(U8)), Opt("srh-last-entry-eq", integer(U8)),
        Opt("srh-last-entry-gt", integer(U8)), Opt("srh-last-entry-lt", integer(U8)), Opt("srh-tag", integer(U16)),
        Opt("srh-psid", packet.unmasked_network), Opt("srh-nsid", packet.unmasked_network), Opt("srh-lsid",
        packet.unmasked_network),
    ), _6),
    Extension("state", (Opt("state", _STATES),), needs=(("state",),)),
    Extension("statistic", (
        plain("mode", one_of("random", "nth")), Opt("probability", limits.probability), Opt("every", integer(low=1)),
        plain("packet", integer()),
    ), arrange=arrange.statistic, needs=(("mode",),), alone=(("probability", "every"), ("probability", "packet")),
        also=(("every", "packet"), ("packet", "every"))),
    Extension("string", (
        Opt("string", content.plain_string), Opt("hex-string", content.hex_string), plain("algo", word),
        plain("from", integer(U16), hide="0"), plain("to", integer(U16), hide="65535"), plain("icase"),
    ), arrange=arrange.string_match, needs=(("algo",),), alone=(("string", "hex-string"),)),
    Extension("tcp", (
        *(option._replace(hide=_ALL_PORTS) for option in _STRICT_PORTS), Opt("tcp-option", integer(U8, 1)),
        Opt("tcp-flags", packet.tcp_flags, words=2), Opt("syn"),
    ), arrange=arrange.syn, protocols=(6,)),
    Extension("tcpmss", (Opt("mss", span(U16)),), needs=(("mss",),), protocols=(6,)),
    Extension("time", (
        plain("timestart", clock.clock_time), plain("timestop", clock.clock_time), Opt("monthdays", clock.monthdays),
        Opt("weekdays", clock.weekdays), plain("datestart", clock.date, hide=""), plain("datestop", clock.date,
        default="2038-01-19T03:14:07"),
        plain("kerneltz"), plain("contiguous"), plain("localtz"), plain("utc"),
    ), arrange=arrange.time_match),
    Extension("tos", (Opt("tos", packet.tos),), needs=(("tos",),)),
    Extension("ttl", (
        Opt("ttl-eq", integer(U8), ("ttl",)), plain("ttl-lt", integer(U8)), plain("ttl-gt", integer(U8)),
    ), _4, needs=(("ttl-eq", "ttl-lt", "ttl-gt"),), alone=(("ttl-eq", "ttl-lt", "ttl-gt"),)),
    Extension("u32", (Opt("u32", content.u32_test),), needs=(("u32",),)),
    Extension("udp", _HIDDEN_PORTS, protocols=(17,)),
)  # fmt: skip

ALIASES = {"icmpv6": "icmp6", "ipv6-icmp": "icmp6"}
"""Other names of match modules."""

MATCHES: dict[tuple[str, str], Extension] = {(family, row.name): row for row in _ROWS for family in row.families}
"""Match modules by family and name."""
