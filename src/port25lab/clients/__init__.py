"""Client programs. A new one is a module with a class and a row in this table.

client            the face that all show
inloop            aiosmtplib in the lab's own event loop: the default, for speed
smtplib_program   Python's smtplib as a process (smtplib_script.py is what runs there)
swaks             the Swiss Army Knife for SMTP as a process
"""

from __future__ import annotations

from collections.abc import Mapping

from port25lab.clients.client import Client, Target
from port25lab.clients.inloop import InLoop
from port25lab.clients.smtplib_program import SmtplibProgram
from port25lab.clients.swaks import Swaks

__all__ = ["CLIENTS", "Client", "Target"]

CLIENTS: Mapping[str, Client] = {
    "aiosmtplib": InLoop(),
    "smtplib": SmtplibProgram(),
    "swaks": Swaks(),
}
