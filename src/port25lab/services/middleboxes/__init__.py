"""Middleboxes: what stands between a client and its server, led to it by a policy's rules.

standin       takes connections in the server's place and is no mail server: greetings, hang-up, tarpit, hostile ones
masking       what a firewall's SMTP inspection makes of a session: pure functions
proxy         a transparent proxy, which passes sessions on, altered
inline        packets altered in place, out of a queue of the kernel's (NFQUEUE)
nfqueue       that queue

An interceptor, which is a whole mail server, is one row of ``kinds.KINDS``. A new mechanism is one small function or
class and one row: of ``standin.STAND_INS``, or of ``ALTERATIONS`` for proxies and queues.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from port25lab.services.middleboxes.masking import Alteration, SmtpFixup

__all__ = ["ALTERATIONS", "Alteration"]

ALTERATIONS: Mapping[str, Callable[[], Alteration]] = {
    "smtp-fixup": SmtpFixup,
    "banner-mask": lambda: SmtpFixup(extensions=False),
    "extension-mask": lambda: SmtpFixup(greeting=False),
    "smtp-fixup-inline": lambda: SmtpFixup(same_length=True),
}
"""What is done to a session: made anew for each one."""
