"""Observers that produce evidence.

rule_trace         which rules a packet met, from the kernel's trace
rule_map           the kernel's rules, joined to the lines of the files they come from
capture            packets at every node, while attempts go on
deciding_packets   those of them that decided
divergence         where the two sides of a node that passes sessions on first differ
capture_file       all packets in one pcapng file
pcapng             that format
capture_folder     the files of a run
"""
