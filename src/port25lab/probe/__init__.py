"""The client-only prober: what a machine's own sockets tell about the way of its mail, and what follows from it.

client_view                what was seen: data
names, dial, talk          resolving, connecting, conversing: effects, each with an end
traceroute, ttl_capture    how far SYNs come; the TTL of answers, where packets may be read
measure                    all of them at once: a ``Request`` in, a ``ClientView`` out
classify                   a view in, diagnoses out: a pipeline of pure functions
case                       one port of one address as diagnoses look at it
no_connection, in_session  the diagnoses
ambiguous                  what no client can tell apart, and why
explain, table             diagnoses in words, and on a console
"""
