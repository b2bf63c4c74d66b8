"""A server that resets every connection right after it has taken it. Arguments: its ports."""

from __future__ import annotations

import select
import socket
import struct
import sys

poll = select.epoll()
listeners = {}
for port in map(int, sys.argv[1:]):
    sock = socket.socket(socket.AF_INET6)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("::", port))
    sock.listen(100)
    listeners[sock.fileno()] = sock
    poll.register(sock, select.EPOLLIN)
while True:
    for number, _ in poll.poll():
        connection, _ = listeners[number].accept()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
