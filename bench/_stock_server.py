"""The baseline's servers: all mail and DNS servers of one node as one process, on plain aiosmtpd and dnspython.

    python _stock_server.py < CONFIG

Prints one line when it listens. Writes the subject of each message that arrives to the mailbox file, one a line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import smtplib
import socket
import ssl
import sys
from ipaddress import ip_address, ip_network
from typing import Any

import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

TIMEOUT = 5.0

PORTS = {
    "mx": [25],
    "submission": [587],
    "submissions": [465],
    "relay": [25],
    "relay-service": [587, 465, 2525],
    "open-relay": [25],
}

logging.disable(logging.CRITICAL)


class Mail:
    """aiosmtpd's handler for one service of the node."""

    def __init__(self, node: dict[str, Any], service: dict[str, Any]) -> None:
        self.node, self.service = node, service
        self.users = service.get("users") or {}
        self.networks = [ip_network(network) for network in service.get("networks", ())]
        self.relays_for_all = service["kind"] == "open-relay"

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _way: str, login: LoginPassword) -> AuthResult:
        return AuthResult(success=self.users.get(login.login.decode()) == login.password.decode(), handled=False)

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        peer = ip_address(session.peer[0])
        relayed = self.relays_for_all or session.authenticated or any(peer in network for network in self.networks)
        if not relayed and address.rpartition("@")[2] not in self.node["domains"]:
            return "550 5.7.1 relay access denied"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        loop = asyncio.get_running_loop()
        for recipient in envelope.rcpt_tos:
            if recipient.rpartition("@")[2] in self.node["domains"]:
                subject = envelope.content.decode().split("Subject: ", 1)[1].split("\r\n", 1)[0]
                with open(self.node["mailbox"], "a") as mailbox:
                    mailbox.write(subject + "\n")
            else:
                loop.run_in_executor(None, relay, self.node, envelope.mail_from, recipient, envelope.content)
        return "250 OK"


def relay(node: dict[str, Any], mail_from: str, recipient: str, content: bytes) -> None:
    """Hand a message on to the recipient's MX, by the first of its addresses that takes it."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = node["resolvers"]
    exchange = resolver.resolve(recipient.rpartition("@")[2], "MX")[0].exchange
    for kind in ("AAAA", "A"):
        try:
            for record in resolver.resolve(exchange, kind):
                with smtplib.SMTP(record.address, 25, node["hostname"], TIMEOUT) as session:
                    session.sendmail(mail_from, [recipient], content)
                return
        except (OSError, smtplib.SMTPException):
            continue


class Names(asyncio.DatagramProtocol):
    """The lab's DNS server, which answers from a table."""

    def __init__(self, records: dict[str, list[str]]) -> None:
        self.records = records

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, sender: Any) -> None:
        query = dns.message.from_wire(data)
        answer, asked = dns.message.make_response(query), query.question[0]
        name, kind = asked.name.to_text().lower(), asked.rdtype.name
        if values := self.records.get(f"{name} {kind}"):
            answer.answer = [dns.rrset.from_text(asked.name, 60, "IN", kind, *values)]
        elif not any(key.startswith(f"{name} ") for key in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), sender)


class Forwarder(asyncio.DatagramProtocol):
    """The ISP's resolver, which asks the lab's DNS server."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, sender: Any) -> None:
        asyncio.get_running_loop().run_in_executor(None, self.ask, data, sender)

    def ask(self, data: bytes, sender: Any) -> None:
        family = socket.AF_INET6 if ":" in self.upstream else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect((self.upstream, 53))
            sock.send(data)
            self.transport.sendto(sock.recv(4096), sender)


async def serve(node: dict[str, Any]) -> None:
    """Start all servers of the node, and serve without end."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(node["certificate"])
    loop = asyncio.get_running_loop()
    for service in node["services"]:
        if service["kind"] in ("dns", "resolver"):
            for address in node["addresses"]:
                protocol = Names(node["records"]) if service["kind"] == "dns" else Forwarder(service["upstream"])
                await loop.create_datagram_endpoint(lambda protocol=protocol: protocol, (address, 53))
            continue
        ports = PORTS[service["kind"]] + ([587, 465] if service["kind"] == "relay" and service.get("users") else [])
        for port in ports:
            mail = Mail(node, service)

            def conversation(mail: Mail = mail, port: int = port) -> SMTP:
                return SMTP(
                    mail,
                    hostname=node["hostname"],
                    tls_context=None if port == 465 else tls,
                    authenticator=mail.authenticate,
                    auth_required=port in (587, 465, 2525),
                    auth_require_tls=port in (587, 2525),
                )

            for wildcard in ("0.0.0.0", "::"):
                await loop.create_server(conversation, wildcard, port, ssl=tls if port == 465 else None)
    print("listening", flush=True)
    await loop.create_future()


if __name__ == "__main__":
    asyncio.run(serve(json.load(sys.stdin)))
