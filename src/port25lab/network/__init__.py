"""A plan built in the kernel.

builder    nodes, links, addresses and routes
firewall   sets and rules, loaded into a node
host       sockets and processes of a node
"""
