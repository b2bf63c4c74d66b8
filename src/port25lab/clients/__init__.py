"""Client programs. A new one is a module with a class and a row in this table.

client            the face that all show
inloop            aiosmtplib in the lab's own event loop: the default, for speed
smtplib_program   Python's smtplib as a process (smtplib_script.py is what runs there)
swaks             the Swiss Army Knife for SMTP as a process
curl              curl as a process
msmtp             msmtp as a process
transcript        what these say of a session, read into an observation
postfix           Postfix as the sender's own server, which takes the message and delivers by itself
postfix_log       what its log says of that
"""

from __future__ import annotations

from collections.abc import Mapping

from port25lab.clients.client import Client, Mta, Ports, Target
from port25lab.clients.curl import Curl
from port25lab.clients.inloop import InLoop
from port25lab.clients.msmtp import Msmtp
from port25lab.clients.postfix import Postfix
from port25lab.clients.smtplib_program import SmtplibProgram
from port25lab.clients.swaks import Swaks

__all__ = ["CLIENTS", "PROGRAMS_AT_ONCE", "Client", "Mta", "Ports", "Target"]

CLIENTS: Mapping[str, Client | Mta] = {
    "aiosmtplib": InLoop(),
    "smtplib": SmtplibProgram(),
    "swaks": Swaks(),
    "curl": Curl(),
    "msmtp": Msmtp(),
    "postfix": Postfix(),
}

PROGRAMS_AT_ONCE = 8
"""Client programs that run side by side: more would only wait for the processor, and look like slow servers."""
