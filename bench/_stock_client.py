"""The baseline's client: one message by smtplib, run in a node. Reads the path as JSON on stdin, prints the outcome.

`sent`, `refused` (by a server's reply) or `blocked` (no server to talk to), and why.
"""

from __future__ import annotations

import json
import smtplib
import ssl
import sys
from typing import Any

import dns.exception
import dns.resolver

TIMEOUT = 5.0


def main() -> None:
    """Look the server up, then try each address until one accepts the message."""
    path = json.load(sys.stdin)
    try:
        print(send(path))
    except smtplib.SMTPException as error:
        print(f"refused: {error}")
    except (OSError, dns.exception.DNSException) as error:
        print(f"blocked: {type(error).__name__} {error}")


def send(path: dict[str, Any]) -> str:
    addresses, failure = path["addresses"] or look_up(path), OSError("no address")
    for address in addresses:
        try:
            session = connect(path, address)
        except OSError as error:
            failure = error
        else:
            return converse(session, path)
    raise failure


def look_up(path: dict[str, Any]) -> list[str]:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.lifetime = path["resolvers"], TIMEOUT
    name = path["to"]
    if name.startswith("mx:"):
        name = resolver.resolve(name.removeprefix("mx:"), "MX")[0].exchange
    found: list[str] = []
    for version, kind in ((6, "AAAA"), (4, "A")):
        if path["ip_version"] in (None, version):
            found += [record.address for record in resolver.resolve(name, kind)]
    return found


def connect(path: dict[str, Any], address: str) -> smtplib.SMTP:
    if path["security"] == "implicit":
        context = ssl._create_unverified_context()
        return smtplib.SMTP_SSL(address, path["port"], path["hostname"], timeout=TIMEOUT, context=context)
    return smtplib.SMTP(address, path["port"], path["hostname"], timeout=TIMEOUT)


def converse(session: smtplib.SMTP, path: dict[str, Any]) -> str:
    with session:
        if path["security"] == "starttls":
            session.starttls(context=ssl._create_unverified_context())
        if path["user"]:
            session.login(path["user"], path["password"])
        session.sendmail(path["mail_from"], [path["rcpt_to"]], path["message"])
    return "sent"


if __name__ == "__main__":
    main()
