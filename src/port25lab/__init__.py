"""port25lab: an ISP in a box. Which mail-submission paths does a port-25 policy let through, and which rule decided?

The rooms, in the order in which data flows; a module imports only what stands before it, but for a table of names:

    errors, outcome, mechanism, evidence, mailpath  the words
    catalogue, topology, policy                     what the user writes, read and checked
    scenariofile, scenario                          and what the user asks, turned into questions
    selection, listing                              which paths of it to run, and what there is
    host, dialogue, services                        who talks to whom, and what is on offer
    sandbox, doctor                                 namespaces of its own for each lab, and whether they can be had
    netlink, network, netfilter                     the network inside, and its rules
    trace, packet, ring, sightings, divergence      the kernel's word on packets, and the packets themselves
    capture, pcapng, pcapfiles                      all of them in files
    labhost, clients, rawpackets                    mail programs, and packets that none would send
    attempt, running, inside                        the lab's own process
    zygote, nursery, lab                            the same lab, seen from outside
    classifier, verdict, run                        from evidence to verdicts, from questions to a report
    report                                          renderings
    probe                                           what a client alone can find out, also on a real network
    cli, shell, pytest_plugin                       the doors
"""
