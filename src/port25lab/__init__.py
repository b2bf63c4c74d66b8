"""port25lab: an ISP in a box. Which mail-submission paths does a port-25 policy let through, and which rule decided?

The rooms, in the order in which data flows; a module imports only what stands before it:

    errors, outcome, evidence, mailpath        the words
    catalogue, policy, topology, scenario      what the user writes, read and checked
    selection                                  which paths of it to run
    sandbox                                    namespaces of its own for each lab
    netlink, network, netfilter, trace, icmp   the network inside, its rules, and the kernel's word on them
    host, labhost, dialogue, services, clients who talks to whom
    attempt, running, inside                   the lab's own process
    lab                                        the same lab, seen from outside
    verdict, run                               from evidence to verdicts, from questions to a report
    report                                     renderings
    cli, shell, doctor, pytest_plugin          the doors
"""
