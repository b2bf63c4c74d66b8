"""Sandboxes: each lab is one process, PID 1 of its own namespaces, started without root (user_namespaces(7)).

namespaces   the system calls
entering     the steps by which a forked process becomes a sandbox
zygote       the process that forks them, with the whole engine imported
nursery      the engine's side: ask for a sandbox, get its control socket
"""
