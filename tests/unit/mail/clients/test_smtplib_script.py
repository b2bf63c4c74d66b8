"""The program on smtplib, against servers that do not behave: one reply may be so long, and take so much time."""

import io
import socket
import threading
from collections.abc import Iterator

import pytest

from port25lab.mail.clients import smtplib_script
from port25lab.mail.clients.smtplib_script import LONGEST_NOTE, LONGEST_REPLY, Bounded, converse, ended_by


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def notes_of(server: socket.socket, *said: bytes, timeout: float = 5.0) -> dict[str, object]:
    """What the program notes of a server that says this, piece by piece, and then nothing more."""

    def speak() -> None:
        connection, _ = server.accept()
        with connection:
            try:
                for piece in said:
                    connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass
            except OSError:
                pass

    speaker = threading.Thread(target=speak)
    speaker.start()
    question = {
        "host": "127.0.0.1",
        "addresses": ["127.0.0.1"],
        "port": server.getsockname()[1],
        "source_port": 0,
        "security": "none",
        "server_name": "mx.example",
        "username": None,
        "password": None,
        "mail_from": "a@example.net",
        "rcpt_to": "b@example.net",
        "message": "x",
        "timeout": timeout,
        "local_hostname": "pc.example",
        "ca_file": None,
    }
    notes: dict[str, object] = dict.fromkeys(("errno", "smtp_code", "reply", "banner", "tls", "missing"))
    notes["stage"] = "resolve"
    try:
        converse(question, notes)
    except (smtplib_script.smtplib.SMTPException, OSError, smtplib_script.EndlessReplyError) as error:
        notes.update(ended_by(error, notes, timeout))
    speaker.join()
    return notes


def test_a_greeting_without_end_is_left(server: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    notes = notes_of(server, *[b"220-welcome\r\n" * 1000] * 1000)
    assert (notes["stage"], notes["smtp_code"]) == ("banner", None)
    assert notes["reply"] == f"a reply of more than {LONGEST_REPLY} bytes"
    assert len(capsys.readouterr().out) < 10_000


def test_a_line_without_end_is_left(server: socket.socket) -> None:
    notes = notes_of(server, b"220 ", b"x" * 1_000_000)
    assert (notes["stage"], notes["smtp_code"]) == ("banner", None)


def test_of_a_long_reply_not_all_is_written_down(server: socket.socket) -> None:
    notes = notes_of(server, b"554 " + b"x" * 8000 + b"\r\n")
    assert (notes["stage"], notes["smtp_code"]) == ("banner", 554)
    assert notes["reply"] == notes["banner"] == "x" * LONGEST_NOTE


def test_a_greeting_that_refuses_is_noted_in_its_own_words(server: socket.socket) -> None:
    notes = notes_of(server, b"554 5.7.1 No mail from here\r\n")
    assert (notes["smtp_code"], notes["reply"], notes["errno"]) == (554, "5.7.1 No mail from here", None)


def test_a_reply_may_take_no_longer_than_the_time_limit_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Slow(io.RawIOBase):
        """A byte a second."""

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:
            nonlocal now
            now += 1.0
            buffer[:1] = b"2"
            return 1

    class Sock:
        def makefile(self, _: str) -> io.BufferedReader:
            return io.BufferedReader(Slow())

    monkeypatch.setattr(smtplib_script.time, "monotonic", lambda: now)
    reply = Bounded(Sock(), 5.0)
    with pytest.raises(TimeoutError):
        reply.readline(1000)
    assert now == 6.0


def test_lines_are_read_one_by_one(server: socket.socket) -> None:
    one, other = socket.socketpair()
    with one, other:
        other.sendall(b"220-a\r\n220 b\r\n25")
        other.shutdown(socket.SHUT_WR)
        reply = Bounded(one, 5.0)
        assert [reply.readline(100) for _ in range(4)] == [b"220-a\r\n", b"220 b\r\n", b"25", b""]
        reply.close()
