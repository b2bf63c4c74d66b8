"""The language of netfilter: rulesets read, joined to the kernel's listing, and walked by one packet.

Nothing here touches a kernel, and nothing else of port25lab is needed: text in, values out.

    source = stack([Source(text, "rules.v4")], "ip")           # what the files say, with the lines
    kernel = parse_listing(saved, "ip")                         # what iptables-save prints
    joined = join(kernel, source)                               # the kernel's rules, with the lines
    syn = Packet("ip", IPv4Address("198.51.100.130"), IPv4Address("203.0.113.25"), destination_port=25)
    for outcome in walk(joined.ruleset, syn, "forward").outcomes:
        print(outcome.decision, outcome.decider and outcome.decider.place)
"""

from port25lab.rules.addresses import Resolve
from port25lab.rules.effects import (
    Changes,
    Decision,
    diverts,
    is_random,
    over_limit,
    reads,
    rejection,
    target_effect,
)
from port25lab.rules.evaluate import WAYS, Assumption, Outcome, Step, Walk, walk
from port25lab.rules.iptables import UNREAD, decode, parse, parse_listing
from port25lab.rules.join import Difference, Differing, Joined, Source, join, listed_text, stack
from port25lab.rules.model import (
    BUILTIN_CHAINS,
    HEADER,
    Chain,
    Family,
    Match,
    Option,
    Place,
    Rule,
    Ruleset,
    Table,
    Target,
)
from port25lab.rules.packet import Packet, Sets, no_sets, sets_of
from port25lab.rules.stateless import is_stateless, remembers, repeats
from port25lab.rules.throttle import answers_of, by_chance, changed_by_chance, match_of, refill_seconds, throttled
from port25lab.rules.trail import open_jumps, trail
from port25lab.rules.values import RefusedError

__all__ = [
    "BUILTIN_CHAINS",
    "HEADER",
    "UNREAD",
    "WAYS",
    "Assumption",
    "Chain",
    "Changes",
    "Decision",
    "Difference",
    "Differing",
    "Family",
    "Joined",
    "Match",
    "Option",
    "Outcome",
    "Packet",
    "Place",
    "RefusedError",
    "Resolve",
    "Rule",
    "Ruleset",
    "Sets",
    "Source",
    "Step",
    "Table",
    "Target",
    "Walk",
    "answers_of",
    "by_chance",
    "changed_by_chance",
    "decode",
    "diverts",
    "is_random",
    "is_stateless",
    "join",
    "listed_text",
    "match_of",
    "no_sets",
    "open_jumps",
    "over_limit",
    "parse",
    "parse_listing",
    "reads",
    "refill_seconds",
    "rejection",
    "remembers",
    "repeats",
    "sets_of",
    "stack",
    "target_effect",
    "throttled",
    "trail",
    "walk",
]
