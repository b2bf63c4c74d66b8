"""A lab: its process in a sandbox, and the engine's handle to it.

runtime      network, policies and services in one sandbox, and the attempts that are made in it
server       the lab's process: requests on its control socket, answered
handle       ``Lab``, the engine's side of that socket
forkserver   the process that forks a sandbox for each lab
sandboxes    the engine's side of the fork server
"""
