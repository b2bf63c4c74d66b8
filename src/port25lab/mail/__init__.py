"""SMTP and DNS, both the clients' side and the servers'.

smtp_session   a client's side of one SMTP session, observed
message        the message that an attempt sends
resolver       DNS lookups of clients
host           the interface of a node to clients and services
clients        mail programs
services       mail servers and DNS servers
middleboxes    programs between a client and its server
"""
