"""The client-only prober: what a machine's own sockets tell about the way of its mail, and what follows from it.

client_view                what was seen: data
names, dial, talk          resolving, connecting, conversing: effects, each with an end
acting                     sockets of another user, for rules about users
traceroute, ttl_capture    how far SYNs and datagrams come; the TTL of answers, where packets may be read
own_machine, resolver      what the own machine's kernel says; what several DNS servers say of one name
second_look                what the own machine does to connections, measured after the first answers
measure                    all of them at once: a ``Request`` in, a ``ClientView`` out
classify                   a view in, diagnoses out: a pipeline of pure functions
case                       one port of one address as diagnoses look at it
no_connection, in_session, false_name, of_users  the diagnoses
causes                     what the words of a refusing server are about
places, where              the places of the way; where a diagnosis is, or may be
ambiguous                  what no client can tell apart, and why
statement, table, page     diagnoses in words, on a console and on a page (with advice, letters, ways_out, meanings)
"""
