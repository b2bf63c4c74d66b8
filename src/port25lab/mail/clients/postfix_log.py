"""Postfix' log: each try to deliver a message becomes a hop.

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
"""The code of a message that Postfix bounced without a reply of a server: RFC 5321 section 4.2.3."""

_LINE = re.compile(r" postfix/(?:smtp|error)\[\d+\]: (?:[0-9A-Za-z]+: )?(?P<text>.*)")

_STATUS = re.compile(r"relay=(?P<relay>\S+), .*dsn=(?P<dsn>[\d.]+), status=(?P<status>\w+) \((?P<words>.*)\)$")

_TRY = re.compile(r"connect to|host \S+ (said|refused)|lost connection|conversation with|SASL authentication failed")

_SERVER = re.compile(r"(?P<name>[\w.-]+)\[(?P<address>[0-9a-f.:]+)\]")

_REPLY = re.compile(
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
"""The stage at which a try ended, by Postfix' own text, without the server's reply."""


class LogLine(NamedTuple):
    """A line of the log, and the seconds since the line before: the log itself has whole seconds."""

    text: str
    seconds: float


class Status(NamedTuple):
    """The last line about a message, without its head; its queue id, and its status code of RFC 3463."""

    text: str
    queue_id: str
    enhanced_code: str | None


def tries(log: Iterable[LogLine], node: str, to: str) -> list[Hop]:
    """Every try in the log of one message, in order.

    ``node``: where Postfix runs. ``to``: the destination, for tries in which no address was dialled.
    """
    found: list[Hop] = []
    for line, seconds in log:
        match = _LINE.search(line)
        text = match["text"] if match else ""
        if status := _STATUS.search(text):
            if status["relay"] == "none" and found:  # it repeats the lines of the tries
                continue
            observation = _observation(status["relay"], status["words"], status["status"])
            if observation.enhanced_code is None:
                observation = observation.model_copy(update={"enhanced_code": status["dsn"]})
        elif _TRY.match(text):
            observation = _observation(text, text, "deferred")
        else:
            continue
        server = _SERVER.search(status["relay"] if status else text)
        observation = observation.model_copy(update={"seconds": round(seconds, 6)})
        found.append(Hop(node=node, to=server["name"] if server else to, observation=observation))
    return found


def status(log: Iterable[LogLine]) -> Status:
    """The last line of the log, which is about the message's end."""
    last = list(log)[-1].text
    text = last.split("]: ", 1)[-1]
    code = _STATUS.search(last)
    return Status(text, text.split(":", 1)[0], code["dsn"] if code else None)


def _observation(server: str, words: str, status: str) -> Observation:
    """How one try ended. ``server`` as Postfix writes it: ``mx.example.net[192.0.2.25]:25``."""
    where, reply = _SERVER.search(server), _REPLY.match(words)
    address = where["address"] if where else None
    if status == "sent":
        code, text = words[:3], words[4:]
        return Observation(
            stage=Stage.DONE,
            smtp_code=int(code) if code.isdigit() else 250,
            enhanced_code=enhanced_code(text),
            reply=words,
            address=address,
        )
    own_text = f"{reply['who']} {reply['command'] or ''}" if reply else words
    stage = next((stage for pattern, stage in _STAGES if re.search(pattern, own_text)), Stage.BANNER)
    code_without_reply = BOUNCED if status == "bounced" else None
    return Observation(
        stage=stage,
        errno=errno_of(words.rsplit(": ", 1)[-1]) if stage is Stage.CONNECT else None,
        smtp_code=int(reply["code"]) if reply else code_without_reply,
        enhanced_code=enhanced_code(reply["reply"]) if reply else None,
        reply=words,
        timed_out=reply is None and " timed out while " in words,
        address=address,
        missing="STARTTLS" if "was not offered" in words else None,
    )
