"""The lab's certificate authority: one for each lab, trusted by the lab's clients alone.

Elliptic keys and no files but the CA's own certificate: a server's certificate costs less than a millisecond.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from port25lab.mail.client_tls import settled
from port25lab.model.plan import NodePlan


class Authority:
    """Makes certificates, and the TLS contexts around them. TLS 1.2 is the least (RFC 8996)."""

    def __init__(self) -> None:
        self._ca = trustme.CA(organization_name="port25lab")
        self._servers: dict[str, ssl.SSLContext] = {}

    def write(self, file: Path) -> None:
        """Write the authority's own certificate, for programs that read a file of trusted ones."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._ca.cert_pem.write_to_path(file)

    def client_context(self) -> ssl.SSLContext:
        """Trusts the lab's authority alone, and verifies the server's name."""
        context = ssl.create_default_context(cadata=self._ca.cert_pem.bytes().decode())
        return settled(context)

    def server_context(self, node: NodePlan) -> ssl.SSLContext:
        """The context of a node's servers: one certificate for all its names and published addresses."""
        if node.name not in self._servers:
            identities = dict.fromkeys((node.hostname, *node.names, *map(str, node.published)))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._ca.issue_cert(*identities, organization_name="port25lab").configure_cert(context)
            self._servers[node.name] = context
        return self._servers[node.name]


def opportunistic_context() -> ssl.SSLContext:
    """Between relays: encrypted, and not verified (RFC 7435)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return settled(context)
