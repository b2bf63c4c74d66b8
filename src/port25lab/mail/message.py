"""The message that an attempt sends: its token, and its size."""

from __future__ import annotations

import re
from email.utils import formatdate

TOKEN_HEADER = "X-Port25lab-Token"  # noqa: S105

PADDING = b"x" * 76 + b"\r\n"


def build_message(token: str, sender: str, recipient: str, size: int = 0) -> bytes:
    """A message (RFC 5322) that is known by its token, padded to at least ``size`` bytes."""
    lines = (
        f"From: <{sender}>",
        f"To: <{recipient}>",
        f"Subject: port25lab {token}",
        f"Date: {formatdate()}",
        f"Message-ID: <{token}@port25lab.example>",
        f"{TOKEN_HEADER}: {token}",
        "",
        "Sent to find out which way mail gets through.",
        "",
    )
    message = "\r\n".join(lines).encode()
    return message + PADDING * max(0, -(-(size - len(message)) // len(PADDING)))


def token_of(message: bytes) -> str | None:
    """The token in a message's header; None where it has none."""
    head = re.split(rb"\r?\n\r?\n", message, maxsplit=1)[0]
    found = re.search(rb"^" + TOKEN_HEADER.encode() + rb": ([0-9a-f]+)\r?$", head, re.MULTILINE | re.IGNORECASE)
    return found[1].decode() if found else None
