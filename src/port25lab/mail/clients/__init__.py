"""Client programs. A new one is a module with a class, a row in this table, and one in ``model.client_kinds``.

base              the interface of all
in_process        aiosmtplib in the lab's own event loop: the default, for speed
smtplib_client    Python's smtplib as a process (smtplib_script.py is what runs there)
swaks             the Swiss Army Knife for SMTP as a process
curl              curl as a process
msmtp             msmtp as a process
transcript        the output of these programs, read into an observation
postfix           Postfix as the sender's own server, which queues the message and delivers by itself
postfix_log       its log, read into tries
"""

from __future__ import annotations

from collections.abc import Mapping

from port25lab.mail.clients.base import Client, Mta
from port25lab.mail.clients.curl import Curl
from port25lab.mail.clients.in_process import InProcess
from port25lab.mail.clients.msmtp import Msmtp
from port25lab.mail.clients.postfix import Postfix
from port25lab.mail.clients.smtplib_client import SmtplibClient
from port25lab.mail.clients.swaks import Swaks

CLIENTS: Mapping[str, Client | Mta] = {
    "aiosmtplib": InProcess(),
    "smtplib": SmtplibClient(),
    "swaks": Swaks(),
    "curl": Curl(),
    "msmtp": Msmtp(),
    "postfix": Postfix(),
}
