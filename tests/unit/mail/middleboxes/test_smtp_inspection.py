"""What SMTP inspection makes of a session, without any session."""

import pytest

from port25lab.mail.middleboxes import ALTERATIONS
from port25lab.mail.middleboxes.smtp_inspection import Alteration, SmtpFixup

EHLO = (
    b"250-mx.example.net\r\n250-SIZE 10485760\r\n250-8BITMIME\r\n250-STARTTLS\r\n250-SMTPUTF8\r\n"
    b"250-AUTH LOGIN PLAIN\r\n250 HELP\r\n"
)
MASKED_EHLO = (
    b"250-mx.example.net\r\n250-SIZE 10485760\r\n250-8BITMIME\r\n250-XXXXXXXX\r\n250-XXXXXXXX\r\n"
    b"250-AUTH LOGIN PLAIN\r\n250 XXXX\r\n"
)


@pytest.fixture(params=["smtp-fixup", "smtp-fixup-inline"])
def fixup(request: pytest.FixtureRequest) -> Alteration:
    return ALTERATIONS[request.param]()


def greeted(fixup: Alteration) -> Alteration:
    fixup.from_server(b"220 mx.example.net ESMTP\r\n")
    return fixup


def in_data(fixup: Alteration) -> Alteration:
    greeted(fixup).from_client(b"DATA\r\n")
    fixup.from_server(b"354 End with a dot\r\n")
    return fixup


def test_the_banner_is_masked_in_its_length(fixup: Alteration) -> None:
    assert fixup.from_server(b"220 mx.example.net ESMTP\r\n") == b"220 " + b"*" * 20 + b"\r\n"


def test_each_line_of_a_long_banner_is_masked(fixup: Alteration) -> None:
    assert fixup.from_server(b"220-mx\r\n220 ESMTP\r\n") == b"220-**\r\n220 *****\r\n"


def test_a_greeting_that_refuses_can_be_read(fixup: Alteration) -> None:
    assert fixup.from_server(b"554 5.7.1 No\r\n") == b"554 5.7.1 No\r\n"


def test_starttls_and_other_extensions_are_masked(fixup: Alteration) -> None:
    assert greeted(fixup).from_client(b"ehlo pc.example\r\n") == b"ehlo pc.example\r\n"
    assert fixup.from_server(EHLO) == MASKED_EHLO


def test_extensions_are_masked_line_by_line_too(fixup: Alteration) -> None:
    greeted(fixup).from_client(b"EHLO pc.example\r\n")
    assert b"".join(map(fixup.from_server, EHLO.splitlines(keepends=True))) == MASKED_EHLO


def test_other_replies_pass(fixup: Alteration) -> None:
    greeted(fixup).from_client(b"EHLO pc.example\r\n")
    fixup.from_server(EHLO)
    for command, reply in ((b"MAIL FROM:<a@b.example>\r\n", b"250 OK\r\n"), (b"QUIT\r\n", b"221 Bye\r\n")):
        assert fixup.from_client(command) == command
        assert fixup.from_server(reply) == reply


@pytest.mark.parametrize("command", [b"STARTTLS\r\n", b"XCLIENT A=1\r\n", b"\x16\x03\x01\x02\r\n", b"BDAT 5 LAST\n"])
def test_commands_that_are_not_basic_are_masked(fixup: Alteration, command: bytes) -> None:
    end = b"\r\n" if command.endswith(b"\r\n") else b"\n"
    assert greeted(fixup).from_client(command) == b"X" * (len(command) - len(end)) + end


def test_a_message_passes_as_it_is(fixup: Alteration) -> None:
    body = b"STARTTLS\r\n" + b"x" * 2000 + b"\r\n.\r\n"
    assert in_data(fixup).from_client(body) == body
    assert fixup.from_client(b"STARTTLS\r\n") == b"XXXXXXXX\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100])
def test_the_end_of_a_message_is_found_in_pieces(fixup: Alteration, size: int) -> None:
    body = b"STARTTLS\r\n..\r\n.x\r\n\r\n.\r\n"
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert b"".join(map(in_data(fixup).from_client, pieces)) == body
    assert fixup.from_client(b"STARTTLS\r\n") == b"XXXXXXXX\r\n"


def test_an_empty_message_and_the_next_command_come_in_one_piece(fixup: Alteration) -> None:
    assert in_data(fixup).from_client(b".\r\nSTARTTLS\r\n") == b".\r\nXXXXXXXX\r\n"


def test_data_that_was_refused_begins_no_message(fixup: Alteration) -> None:
    greeted(fixup).from_client(b"DATA\r\n")
    fixup.from_server(b"503 5.5.1 Need RCPT\r\n")
    assert fixup.from_client(b"STARTTLS\r\n") == b"XXXXXXXX\r\n"


def test_an_answer_to_334_is_no_command(fixup: Alteration) -> None:
    greeted(fixup).from_client(b"AUTH LOGIN\r\n")
    fixup.from_server(b"334 VXNlcm5hbWU6\r\n")
    assert fixup.from_client(b"YWxpY2U=\r\n") == b"YWxpY2U=\r\n"
    assert fixup.from_client(b"YWxpY2U=\r\n") == b"XXXXXXXX\r\n"


def test_the_rest_of_a_line_is_no_command(fixup: Alteration) -> None:
    assert greeted(fixup).from_client(b"MAIL FROM:<a@") == b"MAIL FROM:<a@"
    assert fixup.from_client(b"b.example>\r\n") == b"b.example>\r\n"


def test_a_command_line_ends_after_512_octets() -> None:
    line = b"VRFY " + b"x" * 600 + b"\r\n"
    assert greeted(SmtpFixup()).from_client(line) == line[:510] + b"\r\n"
    assert greeted(SmtpFixup(same_length=True)).from_client(line) == line[:510] + b" " * 95 + b"\r\n"
    assert greeted(SmtpFixup()).from_client(line[:510] + b"\r\n") == line[:510] + b"\r\n"


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\n", b"250", b"250-", b"2", b"\0\xff\r\n\r\r\n", b"x" * 70000])
def test_nothing_gets_longer_or_shorter_in_place(data: bytes) -> None:
    for greeting in (b"220 x\r\n", b""):
        fixup = SmtpFixup(same_length=True)
        fixup.from_server(greeting)
        assert len(fixup.from_client(b"EHLO x\r\n")) == 8
        assert len(fixup.from_server(data)) == len(data)
        assert len(fixup.from_client(data)) == len(data)


def test_a_mask_for_the_banner_alone_leaves_everything_else() -> None:
    mask = ALTERATIONS["banner-mask"]()
    assert mask.from_server(b"220 mx.example.net\r\n") == b"220 " + b"*" * 14 + b"\r\n"
    assert mask.from_client(b"EHLO a\r\n") == b"EHLO a\r\n"
    assert mask.from_server(EHLO) == EHLO
    assert mask.from_client(b"STARTTLS\r\n") == b"STARTTLS\r\n"


def test_a_mask_for_extensions_alone_leaves_the_banner() -> None:
    mask = greeted(ALTERATIONS["extension-mask"]())
    assert ALTERATIONS["extension-mask"]().from_server(b"220 mx\r\n") == b"220 mx\r\n"
    mask.from_client(b"EHLO a\r\n")
    assert mask.from_server(EHLO) == MASKED_EHLO
