"""The client-only prober: what a machine's own sockets tell about the way of its mail, and what follows from it.

view               what was seen: data
names, dial, talk  resolving, connecting, conversing: effects, each with an end
traceroute, wire   how far SYNs come; the TTL of answers, where packets may be read
prober             all of them at once: a ``Request`` in, a ``ClientView`` out
classify           a view in, findings out: a pipeline of pure functions
indistinguishable  what no client can tell apart, and why
explain, show      findings in words, and on a console
command            ``port25lab probe``
"""

from port25lab.probe.classify import Finding, classify, findings
from port25lab.probe.view import ClientView

__all__ = ["ClientView", "Finding", "classify", "findings"]
