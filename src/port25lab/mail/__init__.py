"""SMTP and DNS, as both sides speak them.

smtp_session   a client's side of one SMTP session, observed
message        the message that an attempt sends
resolver       names as clients ask for them
host           what a client or a service needs of its node
clients        mail programs
services       mail servers and DNS servers
middleboxes    what stands between a client and its server
"""
