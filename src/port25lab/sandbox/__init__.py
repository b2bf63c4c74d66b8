"""Sandboxes: each lab is one process, PID 1 of its own namespaces, started without root (user_namespaces(7)).

namespaces   the system calls
entering     the steps by which a forked process becomes a sandbox
limits       what its processes can do: capabilities, no_new_privs, a filter of system calls

``nursery`` asks for sandboxes, and ``zygote`` is the process that forks them.
"""
