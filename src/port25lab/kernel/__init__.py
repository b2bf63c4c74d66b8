"""Thin interfaces to Linux. Nothing in them is about mail.

namespaces     unshare, setns and mount, by system calls
sandbox        the steps by which a forked process becomes a lab's PID 1
confinement    the limits of a lab's processes: capabilities, no_new_privs, a system call filter
own_python     how port25lab starts Python processes of its own
netlink        netlink messages; links, addresses and routes
ipv6           whether this kernel has IPv6
headers        the parser of IP, TCP and ICMP headers
bpf            socket filters: an assembler, and how they are attached
packet_ring    a node's packets, out of a ring in shared memory
nftrace        the socket and the rules of nftables' trace
nfqueue        packets that a program may rewrite
"""
