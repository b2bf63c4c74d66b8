"""Services of nodes: mail servers that relay by MX, DNS servers, and the mailboxes in which mail ends.

start              all services of a lab, started until each has answered
smtp_server        one node's mail server, and the ports on which it listens
recipient_checks   greylisting and DNS blocklists
relay_queue        the queue: MX lookup, delivery, retry, bounce
mailbox            mailboxes, and the delivery log of each message
zones              the lab's DNS data, and authoritative answers
dns_server         DNS servers: the authoritative one and resolvers
certificates       the lab's certificate authority
tasks              the tasks of services, and errors that end them
"""
