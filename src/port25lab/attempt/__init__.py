"""One path, tried in a running lab.

attempts          mail attempts: from a path to its evidence
admission         how many attempts go on at the same time
packet_builders   hand-made packets, built with scapy
packet_sender     one hand-made packet, from the path to its evidence
packet_watch      the hand-made packets that arrive at a node
"""
