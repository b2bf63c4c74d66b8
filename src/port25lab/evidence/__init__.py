"""What is observed of an attempt beside the client's own view.

observer           all of it, asked for at once
rule_trace         which rules matched a packet, from the kernel's trace
rule_map           the kernel's rules, with the lines of the files they come from
loaded_rules       reads them back from the kernel
syn_ways           the way of each SYN through the traced nodes
early_drops        whether the retransmission of a dropped SYN would be dropped as well
capture            packets at every node, while attempts go on
deciding_packets   those of them that decided
divergence         the first difference between the two sides of a node that passes sessions on
capture_file       all packets in one pcapng file
pcapng             that format
capture_folder     the capture files of a run
"""
