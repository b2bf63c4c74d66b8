"""What a packet's bytes are compared with."""

from __future__ import annotations

from port25lab.rules.values import U32, Context, Read, RefusedError, number, quoted


def hex_bytes(text: str) -> bytes:
    r"""The bytes of a ``--hex-string``: ``|0a 0b|`` is hexadecimal, ``\\`` takes the next character as it is."""
    found, inside, place = bytearray(), False, 0
    raw = text.encode("utf-8", "surrogateescape")
    while place < len(raw):
        character = raw[place : place + 1]
        if character == b"|":
            inside = not inside
            place += 1
        elif inside and character == b" ":
            place += 1
        elif inside:
            try:
                found.append(int(raw[place : place + 2], 16))
            except ValueError:
                raise RefusedError(f"Invalid hex char in {text!r}") from None
            place += 2
        else:
            place += character == b"\\"
            found += raw[place : place + 1]
            place += 1
    return bytes(found)


def pattern_text(pattern: bytes) -> tuple[str, str]:
    """Which option iptables prints for a pattern, and its value."""
    if any(not 32 <= byte < 127 for byte in pattern) or pattern.endswith(b"\\"):
        return "hex-string", f'"|{pattern.hex()}|"'
    return "string", '"' + pattern.decode().replace("\\", "\\\\").replace('"', '\\"') + '"'


def plain_string(text: str, _: Context) -> Read:
    """A pattern of characters."""
    return Read(text.encode("utf-8", "surrogateescape"), quoted(text))


def hex_string(text: str, _: Context) -> Read:
    """A pattern with bytes in hexadecimal."""
    return Read(hex_bytes(text), quoted(text))


def u32_test(text: str, _: Context) -> Read:
    """Tests of bytes, ``LOCATION=VALUES[&&…]``, printed without blanks and in hexadecimal."""
    shown, digits = "", ""
    for character in [*text, ""]:
        if character and character.isalnum():
            digits += character
            continue
        if digits:
            value, rest = number(digits)
            if rest or value > U32:
                raise RefusedError(f'u32: bad number "{digits}"')
            shown, digits = f"{shown}0x{value:x}", ""
        if not character.isspace():
            shown += character
    tests = []
    for test in shown.split("&&"):
        location, equals, listed = test.partition("=")
        if not equals or not location or not listed:
            raise RefusedError("u32: abrupt end of input after location specifier")
        ends = [one.partition(":") for one in listed.split(",")]
        tests.append(location + "=" + ",".join(a if not colon or a == b else f"{a}:{b}" for a, colon, b in ends))
    return Read("&&".join(tests), '"' + "&&".join(tests) + '"')


def bytecode(text: str, _: Context) -> Read:
    """A program of the packet filter, always in quotes."""
    parts = [" ".join(part.split()) for part in text.split(",")]
    return Read(text, '"' + ",".join(parts) + '"')
