"""Middleboxes: programs between a client and its server, to which a policy's rules send packets.

fake_servers      take connections in the server's place: a greeting that refuses, hang-up, tarpit, hostile ones
smtp_inspection   what a firewall's SMTP inspection changes in a session: pure functions
proxy             a transparent proxy, which passes sessions on, altered
packet_rewriter   packets altered in place, from a queue of the kernel (NFQUEUE)

An interceptor, which is a whole mail server, is one row of ``model.service_kinds``. A new mechanism is one small
function or class and one row: of ``fake_servers.FAKE_SERVERS``, or of ``ALTERATIONS`` for proxies and queues.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from port25lab.mail.middleboxes.smtp_inspection import Alteration, SmtpFixup

__all__ = ["ALTERATIONS", "Alteration"]

ALTERATIONS: Mapping[str, Callable[[], Alteration]] = {
    "smtp-fixup": SmtpFixup,
    "banner-mask": lambda: SmtpFixup(extensions=False),
    "extension-mask": lambda: SmtpFixup(greeting=False),
    "smtp-fixup-inline": lambda: SmtpFixup(same_length=True),
}
"""Makes the alteration of one session."""
