"""The words of port25lab as frozen data, without behaviour that needs a lab.

addresses        types of IP addresses, and names of interfaces
path             one path: from which node, to which server, how
plan             a topology as plain data: nodes, links, addresses
policy           a policy as plain data: its rules files, sets and services
question         one path in one variant of a scenario, with what is expected
evidence         what an attempt leaves: the client's, the kernel's and the recipient's view
outcome          the classified results, with what proves each
mechanism        how a path was stopped, beside the outcome
verdict          the judged result of an attempt, and a report of many
client_kinds     client programs, by name
packet_kinds     hand-made packets, by name
service_kinds    services and middleboxes, by name
"""
