"""What a table of options cannot say: defaults that depend on other options, and one meaning under several names.

Each function takes the options that were given, by canonical name, and returns those that ``iptables-save`` prints.
"""

from __future__ import annotations

from collections.abc import Sequence

from port25lab.rules.extension import Arrange, Arranged, Given
from port25lab.rules.kinds.content import pattern_text
from port25lab.rules.kinds.limits import Rate, rate_shown
from port25lab.rules.kinds.nat import nat_text
from port25lab.rules.values import U8, U32, Context, Masked, Range, RefusedError, bounded, number

HASHLIMIT_SCALE = 1_000_000


def _flag(name: str, negated: bool = False) -> Given:
    return Given(name, negated, (), "")


def _mark(name: str, value: int, mask: int) -> Given:
    return Given(name, False, (Masked(value, mask),), f"0x{value:x}/0x{mask:x}")


def set_mark(given: Arranged, _: Context) -> Arranged:
    """MARK and CONNMARK: every way to set a mark is printed as ``--set-xmark``."""
    found = dict(given)
    if one := found.pop("set-mark", None):
        value, mask = one.values[0]
        found["set-xmark"] = _mark("set-xmark", value, value | mask)
    if one := found.pop("set-xmark", None):
        found["set-xmark"] = _mark("set-xmark", *one.values[0])
    if one := found.pop("and-mark", None):
        found["set-xmark"] = _mark("set-xmark", 0, U32 ^ one.values[0])
    if one := found.pop("or-mark", None):
        found["set-xmark"] = _mark("set-xmark", one.values[0], one.values[0])
    if one := found.pop("xor-mark", None):
        found["set-xmark"] = _mark("set-xmark", one.values[0], 0)
    return found


def connmark(given: Arranged, context: Context) -> Arranged:
    """CONNMARK: as MARK; what is saved or restored has both masks."""
    found = set_mark(given, context)
    both = found.pop("mask", None)
    if "save-mark" in found or "restore-mark" in found:
        for name in ("nfmask", "ctmask"):
            value = both.values[0] if both else found[name].values[0] if name in found else U32
            found[name] = Given(name, False, (value,), f"0x{value:x}")
    else:
        found.pop("nfmask", None)
        found.pop("ctmask", None)
    for name in ("left-shift-mark", "right-shift-mark"):
        if name in found and found[name].values[0] == 0:
            del found[name]
    return found


def set_tos(given: Arranged, _: Context) -> Arranged:
    """TOS: every way to set the byte is printed as ``--set-tos VALUE/MASK``."""
    found = dict(given)
    value, mask = 0, 0
    if "set-tos" in found:
        value, mask = found["set-tos"].values[0]
    elif "and-tos" in found:
        mask = U8 ^ found["and-tos"].values[0]
    elif "or-tos" in found:
        value = mask = found["or-tos"].values[0]
    elif "xor-tos" in found:
        value = found["xor-tos"].values[0]
    return {"set-tos": Given("set-tos", False, (Masked(value, mask),), f"0x{value:02x}/0x{mask:02x}")}


def renamed(**names: str) -> Arrange:
    """Options that mean the same as another one, value and all: ``dscp_class="dscp"``."""

    def arrange(given: Arranged, _: Context) -> Arranged:
        found = dict(given)
        for old, new in names.items():
            if one := found.pop(old.replace("_", "-"), None):
                found[new.replace("_", "-")] = one._replace(name=new.replace("_", "-"))
        return found

    return arrange


def syn(given: Arranged, _: Context) -> Arranged:
    """``--syn`` is short for a test of four flags; a test of no flag says nothing."""
    found = dict(given)
    if one := found.pop("syn", None):
        if "tcp-flags" in found:
            raise RefusedError("Only one of `--syn' or `--tcp-flags'  allowed")
        found["tcp-flags"] = Given("tcp-flags", one.negated, (Masked(2, 23),), "FIN,SYN,RST,ACK SYN")
    elif "tcp-flags" in found and not found["tcp-flags"].negated and not found["tcp-flags"].values[0].mask:
        del found["tcp-flags"]
    return found


def connlimit(given: Arranged, context: Context) -> Arranged:
    """A limit turned round is the other limit; the mask and the side are always printed."""
    found = dict(given)
    _other_side(found, "connlimit-upto", "connlimit-above")
    bits = 32 if context.family == "ip" else 128
    found.setdefault("connlimit-mask", Given("connlimit-mask", False, (bits,), str(bits)))
    if "connlimit-daddr" not in found:
        found["connlimit-saddr"] = _flag("connlimit-saddr")
    return found


def _other_side(found: Arranged, upto: str, above: str) -> None:
    for name, other in ((upto, above), (above, upto)):
        if name in found and found[name].negated:
            found[other] = found.pop(name)._replace(name=other, negated=False)
            return


def limit(given: Arranged, _: Context) -> Arranged:
    """No burst at all means the usual burst."""
    burst = given.get("limit-burst")
    return {name: one for name, one in given.items() if one is not burst or burst.values[0]}


def recent(given: Arranged, context: Context) -> Arranged:
    """The list's name, the mask and the side are always printed; the ``!`` stands in front of the first option."""
    found = dict(given)
    mask = "255.255.255.255" if context.family == "ip" else "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    found.setdefault("name", Given("name", False, ("DEFAULT",), "DEFAULT"))
    found.setdefault("mask", Given("mask", False, (mask,), mask))
    if "rdest" not in found:
        found["rsource"] = _flag("rsource")
    for zero in ("seconds", "hitcount"):
        if zero in found and not found[zero].values[0]:
            del found[zero]
    return found


_BYTE_SHIFT = 4


def _factor(rest: str) -> int:
    return {"m": 1 << 20, "k": 1 << 10}.get(rest[:1].lower(), 1)


def _cost_of_bytes(octets: int) -> int:
    shifted = octets >> _BYTE_SHIFT
    return U32 // (shifted + 1)


def _bytes_of_cost(cost: int) -> int:
    return ((U32 // cost if cost else U32) - 1) << _BYTE_SHIFT


def hashlimit(given: Arranged, context: Context) -> Arranged:
    """Defaults of burst and expiry depend on the rate and its unit."""
    found = dict(given)
    _other_side(found, "hashlimit-upto", "hashlimit-above")
    name = "hashlimit-upto" if "hashlimit-upto" in found else "hashlimit-above"
    if name not in found:
        raise RefusedError("You have to specify --hashlimit")
    written = found[name].values[0]
    burst = found.pop("hashlimit-burst", None)
    if isinstance(written, Rate):
        expire, shown = _packets(found, name, written, burst)
    else:
        expire, shown = _octets(found, name, written, burst)
    if "hashlimit-htable-expire" in found and found["hashlimit-htable-expire"].values[0] == shown:
        del found["hashlimit-htable-expire"]
    elif "hashlimit-htable-expire" not in found and expire != shown:
        found["hashlimit-htable-expire"] = Given("hashlimit-htable-expire", False, (expire,), str(expire))
    full = 32 if context.family == "ip" else 128
    for side in ("hashlimit-srcmask", "hashlimit-dstmask"):
        if side in found and found[side].values[0] == full:
            del found[side]
    if "hashlimit-mode" in found and not found["hashlimit-mode"].values[0]:
        del found["hashlimit-mode"]
    return found


def _packets(found: Arranged, name: str, written: Rate, burst: Given | None) -> tuple[int, int]:
    """A limit of packets. Returns the expiry and the one that is not printed, in milliseconds."""
    if "hashlimit-rate-match" in found:
        read = rate_shown(max(written.period // written.unit, 1), written.unit, HASHLIMIT_SCALE)
        found[name] = found[name]._replace(values=(read.value,), text=read.text)
        interval = found.get("hashlimit-rate-interval")
        seconds = interval.values[0] if interval and interval.values[0] else written.unit
        found["hashlimit-rate-interval"] = Given("hashlimit-rate-interval", False, (seconds,), str(seconds))
        if seconds == 1:
            del found["hashlimit-rate-interval"]
    count = bounded(burst.text, 1, 1_000_000) if burst else 5
    found["hashlimit-burst"] = Given("hashlimit-burst", False, (count,), str(count))
    return written.unit * 1000, found[name].values[0].shown * 1000


def _octets(found: Arranged, name: str, cost: int, burst: Given | None) -> tuple[int, int]:
    """A limit of bytes: as for packets."""
    octets = _bytes_of_cost(cost)
    units = (("m", 1 << 20), ("k", 1 << 10))
    unit = next((u for u in units if octets >= u[1] and _cost_of_bytes(octets & ~(u[1] - 1)) == cost), ("", 1))
    found[name] = found[name]._replace(text=f"{octets // unit[1]}{unit[0]}b/s")
    interval = found.get("hashlimit-rate-interval")
    if interval and interval.values[0] <= 1:
        del found["hashlimit-rate-interval"]
    if burst is None:
        return 15_000, 15_000
    value, rest = number(burst.text)
    wanted = value * _factor(rest)
    if wanted < octets:
        raise RefusedError(f"burst cannot be smaller than {octets}b")
    total = octets * -(-wanted // octets)
    unit = next((u for u in units if total >= u[1]), ("", 1))
    found["hashlimit-burst"] = Given("hashlimit-burst", False, (total,), f"{total // unit[1]}{unit[0]}b")
    return 60_000, 60_000


def statistic(given: Arranged, _: Context) -> Arranged:
    """A probability is kept in 31 bits; every Nth is counted from a packet."""
    found = dict(given)
    if one := found.get("probability"):
        kept = int(one.values[0] * 0x80000000 + 0.5)
        found["probability"] = one._replace(text=f"{kept / 0x80000000:.11f}")
    if "every" in found:
        found.setdefault("packet", Given("packet", False, (0,), "0"))
    return found


def string_match(given: Arranged, _: Context) -> Arranged:
    """A pattern is printed in hexadecimal only where it has to be."""
    found = dict(given)
    one = found.pop("string", None) or found.pop("hex-string", None)
    if one is None:
        raise RefusedError("STRING match: You must specify `--string' or `--hex-string'")
    name, text = pattern_text(one.values[0])
    found[name] = Given(name, one.negated, one.values, text)
    return found


def time_match(given: Arranged, _: Context) -> Arranged:
    """Both ends of the day are printed; days that are excluded are printed as the other days."""
    found = dict(given)
    if "timestart" in found or "timestop" in found:
        found.setdefault("timestart", Given("timestart", False, (0,), "00:00:00"))
        found.setdefault("timestop", Given("timestop", False, (86399,), "23:59:59"))
        if (found["timestart"].values[0], found["timestop"].values[0]) == (0, 86399):
            del found["timestart"], found["timestop"]
    if "localtz" in found:
        del found["localtz"]
        found["kerneltz"] = _flag("kerneltz")
    found.pop("utc", None)
    from port25lab.rules.kinds.clock import WEEKDAYS

    for name, days in (("weekdays", range(7)), ("monthdays", range(1, 32))):
        if one := found.get(name):
            kept = sorted(day for day in days if (day in one.values[0]) != one.negated)
            text = ",".join(WEEKDAYS[day] if name == "weekdays" else str(day) for day in kept)
            found[name] = Given(name, False, (frozenset(kept),), text)
            if len(kept) == len(days):
                del found[name]
    return found


def connbytes(given: Arranged, _: Context) -> Arranged:
    """A range turned round with an open end."""
    found = dict(given)
    one = found["connbytes"]
    if one.negated and one.values[0] == Range(0, 0):
        found["connbytes"] = one._replace(negated=False)
    return found


def cluster(given: Arranged, _: Context) -> Arranged:
    """One node is printed as a mask of nodes."""
    found = dict(given)
    if one := found.pop("cluster-local-node", None):
        mask = 1 << (one.values[0] - 1)
        found["cluster-local-nodemask"] = Given("cluster-local-nodemask", one.negated, (mask,), f"0x{mask:08x}")
    return found


def queue(given: Arranged, _: Context) -> Arranged:
    """NFQUEUE: one queue, or several."""
    found = dict(given)
    if one := found.get("queue-balance"):
        if one.values[0].low == one.values[0].high:
            del found["queue-balance"]
            found["queue-num"] = Given("queue-num", False, (one.values[0].low,), str(one.values[0].low))
    else:
        found.setdefault("queue-num", Given("queue-num", False, (0,), "0"))
    return found


def nflog(given: Arranged, _: Context) -> Arranged:
    """NFLOG: group 0 and a range are not printed, since nftables keeps no range."""
    found = dict(given)
    found.pop("nflog-range", None)
    if "nflog-group" in found and not found["nflog-group"].values[0]:
        del found["nflog-group"]
    return found


def nat(given: Arranged, context: Context) -> Arranged:
    """DNAT to a port alone: the address is left out."""
    found = dict(given)
    for name in ("to-source", "to-destination"):
        if (one := found.get(name)) and one.values[0].addresses is None:
            found[name] = one._replace(text=nat_text(None, one.values[0].ports, one.values[0].base, context))
    return found


def tproxy(given: Arranged, context: Context) -> Arranged:
    """Address and mark are always printed."""
    found = dict(given)
    zero = "0.0.0.0" if context.family == "ip" else "::"  # noqa: S104 - what iptables prints
    found.setdefault("on-ip", Given("on-ip", False, (zero,), zero))
    value, mask = found["tproxy-mark"].values[0] if "tproxy-mark" in found else (0, 0)
    found["tproxy-mark"] = _mark("tproxy-mark", value, mask)
    return found


def ecn_target(given: Arranged, _: Context) -> Arranged:
    """Both TCP bits cleared has a name of its own."""
    found = dict(given)
    bits = [found[name].values[0] for name in ("ecn-tcp-ece", "ecn-tcp-cwr") if name in found]
    if bits == [0, 0]:
        del found["ecn-tcp-ece"], found["ecn-tcp-cwr"]
        found["ecn-tcp-remove"] = _flag("ecn-tcp-remove")
    return found


def rateest(given: Sequence[Given], _: Context) -> Sequence[Given]:
    """The estimator's rates stand around the comparison."""
    by_name = {one.name: one for one in given}
    delta, second = by_name.get("rateest-delta"), by_name.get("rateest2")
    order: list[Given] = [delta] if delta else []
    if one := by_name.get("rateest1"):
        order.append(one._replace(name="rateest1" if second else "rateest"))
    mode = next((by_name[name] for name in ("rateest-lt", "rateest-gt", "rateest-eq") if name in by_name), None)
    for unit in ("bps", "pps"):
        low, high = by_name.get(f"rateest-{unit}1"), by_name.get(f"rateest-{unit}2")
        if not (low or high):
            continue
        if delta and low:
            order.append(low)
        if mode:
            order.append(mode)
        if high:
            order.append(high if delta else high._replace(name=f"rateest-{unit}"))
        elif low and not delta:
            order.append(low._replace(name=f"rateest-{unit}"))
    return [*order, second] if second else order


def policy(given: Sequence[Given], _: Context) -> Sequence[Given]:
    """IPsec policies: direction and kind first, then the elements in order."""
    head = {one.name: one for one in given if one.name in ("dir", "pol", "strict")}
    head.setdefault("dir", Given("dir", False, ("out",), "out"))
    head.setdefault("pol", Given("pol", False, ("ipsec",), "ipsec"))
    order = [head[name] for name in ("dir", "pol", "strict") if name in head]
    elements: list[dict[str, Given]] = [{}]
    for one in given:
        if one.name == "next":
            elements.append({})
        elif one.name not in head:
            elements[-1][one.name] = one
    for number_, element in enumerate(elements):
        if number_:
            order.append(_flag("next"))
        order += [
            element[name] for name in ("reqid", "spi", "proto", "mode", "tunnel-dst", "tunnel-src") if name in element
        ]
    return order
