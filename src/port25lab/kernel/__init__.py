"""Thin interfaces to Linux, with nothing of mail in them.

namespaces     unshare, setns and mount, by system calls
sandbox        the steps by which a forked process becomes a lab's PID 1
confinement    what its processes may do: capabilities, no_new_privs, a filter of system calls
own_python     how a Python process of port25lab's own is started
netlink        links, addresses and routes
ipv6           whether this kernel has IPv6
headers        IP, TCP and ICMP headers, read
bpf            socket filters, assembled and attached
packet_ring    a packet socket's ring in shared memory
nftrace        the rule trace
nfqueue        packets handed to a program, and its answer
"""
