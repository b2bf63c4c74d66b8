"""The TLS contexts of a lab's own clients."""

from __future__ import annotations

import ssl

import pytest

from port25lab.mail.services.certificates import Authority, opportunistic_context


@pytest.mark.parametrize("context", [Authority().client_context(), opportunistic_context()], ids=["client", "relay"])
def test_the_client_hello_has_the_same_size_with_every_openssl(context: ssl.SSLContext) -> None:
    """OpenSSL 3.5 would send a post-quantum key share as well, and 1,556 bytes."""
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="mx.example.net")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = out.read()
    assert len(hello) == 517
    groups = b"\x00\x0a\x00\x04\x00\x02\x00\x17"  # the extension supported_groups (RFC 8446 4.2.7): secp256r1 alone
    assert groups in hello
