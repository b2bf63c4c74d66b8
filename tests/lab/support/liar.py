"""A DNS resolver that lies about some names, and asks another server about the rest.

Arguments: that server's address, and a JSON object: name -> addresses that it gives in place of the right ones.
"""

from __future__ import annotations

import json
import socket
import sys

import dns.message
import dns.query
import dns.rdatatype
import dns.rrset

upstream, lies = sys.argv[1], json.loads(sys.argv[2])
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind(("::", 53))
while True:
    data, sender = sock.recvfrom(4096)
    query = dns.message.from_wire(data)
    asked = query.question[0]
    name = asked.name.to_text(omit_final_dot=True).lower()
    kind = dns.rdatatype.to_text(asked.rdtype)
    if name in lies and kind in ("A", "AAAA"):
        answer = dns.message.make_response(query)
        wanted = [one for one in lies[name] if (":" in one) == (kind == "AAAA")]
        if wanted:
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *wanted))
    else:
        answer = dns.query.udp(query, upstream, timeout=2)
    sock.sendto(answer.to_wire(), sender)
