"""Postfix' log, read: each try to deliver a message becomes a hop.

    postfix/smtp[9]: connect to mx.example.net[192.0.2.25]:25: Connection timed out
    postfix/smtp[9]: 4F1: to=<…>, relay=none, delay=2.1, dsn=4.4.1, status=deferred (connect to …: Connection timed out)

A line for each server that failed, and one for the message at the end: sent, deferred or bounced (smtp(8)).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from port25lab.mail.clients.transcript import errno_of
from port25lab.model.evidence import Hop, Observation, Stage, enhanced_code

BOUNCED = 550
"""The code of a message that Postfix gave up by itself, without a server's word: RFC 5321 section 4.2.3."""

_LINE = re.compile(r" postfix/(?:smtp|error)\[\d+\]: (?:[0-9A-Za-z]+: )?(?P<text>.*)")

_STATUS = re.compile(r"relay=(?P<relay>\S+), .*dsn=(?P<dsn>[\d.]+), status=(?P<status>\w+) \((?P<words>.*)\)$")

_TRY = re.compile(r"connect to|host \S+ (said|refused)|lost connection|conversation with|SASL authentication failed")

_SERVER = re.compile(r"(?P<name>[\w.-]+)\[(?P<address>[0-9a-f.:]+)\]")

_SAID = re.compile(
    r"(?P<who>.*(?:said|to talk to me|to start TLS)): (?P<code>\d{3})[ -](?P<reply>.*?)"
    r"(?: \(in reply to (?P<command>.+?)(?: command)?\))?$"
)

_STAGES = (
    (r"^connect to ", Stage.CONNECT),
    (r"Name service error|Host not found", Stage.RESOLVE),
    (r"initial server greeting|to talk to me", Stage.BANNER),
    (r"EHLO|HELO", Stage.EHLO),
    (r"to start TLS|was not offered|STARTTLS", Stage.STARTTLS),
    (r"Cannot start TLS|[Cc]ertificate|TLS handshake", Stage.TLS),
    (r"SASL|AUTH", Stage.AUTH),
    (r"MAIL FROM|exceeds size limit", Stage.MAIL),
    (r"RCPT TO", Stage.RCPT),
    (r"DATA|message body|end of data", Stage.DATA),
)
"""By what Postfix says of the moment at which a try ended; the server's own words left out."""


class LogLine(NamedTuple):
    """A line of the log, and how long after the one before it came: the log itself has whole seconds."""

    text: str
    seconds: float


class Status(NamedTuple):
    """The last line on a message, without its head; the queue id at its start, and its status code of RFC 3463."""

    text: str
    queue_id: str
    enhanced_code: str | None


def tries(log: Iterable[LogLine], node: str, to: str) -> list[Hop]:
    """Every try in the log of one message, in order. ``to``: whom it was for, where no address was ever dialled."""
    found: list[Hop] = []
    for line, seconds in log:
        match = _LINE.search(line)
        text = match["text"] if match else ""
        if status := _STATUS.search(text):
            if status["relay"] == "none" and found:  # it repeats what was told line by line
                continue
            seen = _observation(status["relay"], status["words"], status["status"])
            if seen.enhanced_code is None:
                seen = seen.model_copy(update={"enhanced_code": status["dsn"]})
        elif _TRY.match(text):
            seen = _observation(text, text, "deferred")
        else:
            continue
        server = _SERVER.search(status["relay"] if status else text)
        seen = seen.model_copy(update={"seconds": round(seconds, 6)})
        found.append(Hop(node=node, to=server["name"] if server else to, observation=seen))
    return found


def status(log: Iterable[LogLine]) -> Status:
    """What the log says of the message at its end."""
    last = list(log)[-1].text
    text = last.split("]: ", 1)[-1]
    code = _STATUS.search(last)
    return Status(text, text.split(":", 1)[0], code["dsn"] if code else None)


def _observation(server: str, words: str, status: str) -> Observation:
    """How one try ended. ``server`` as Postfix writes it: ``mx.example.net[192.0.2.25]:25``."""
    where, said = _SERVER.search(server), _SAID.match(words)
    address = where["address"] if where else None
    if status == "sent":
        code, reply = words[:3], words[4:]
        return Observation(
            stage=Stage.DONE,
            smtp_code=int(code) if code.isdigit() else 250,
            enhanced_code=enhanced_code(reply),
            reply=words,
            address=address,
        )
    manner = f"{said['who']} {said['command'] or ''}" if said else words
    stage = next((stage for pattern, stage in _STAGES if re.search(pattern, manner)), Stage.BANNER)
    code_without_words = BOUNCED if status == "bounced" else None
    return Observation(
        stage=stage,
        errno=errno_of(words.rsplit(": ", 1)[-1]) if stage is Stage.CONNECT else None,
        smtp_code=int(said["code"]) if said else code_without_words,
        enhanced_code=enhanced_code(said["reply"]) if said else None,
        reply=words,
        address=address,
        missing="STARTTLS" if "was not offered" in words else None,
    )
