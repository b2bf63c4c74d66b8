"""Services: what nodes offer to others. Mail servers that really relay, DNS, and the mailboxes in which mail ends.

start              all services of a lab, started and watched
smtp_server        one node's mail server, and the ports on which it speaks
recipient_checks   greylisting and DNS blocklists
relay_queue        the queue: MX lookup, delivery, retry, bounce
mailbox            where mail ends, and the way of every message to it
zones              the lab's DNS data, and the answers that follow from it
dns_server         DNS servers: the authoritative one and resolvers
certificates       the lab's certificate authority
tasks              accepting connections, and noticing when that ends
"""
