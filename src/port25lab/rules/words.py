"""The words of a line, cut as ``iptables-restore`` cuts them."""

from __future__ import annotations


def split(line: str) -> list[str]:
    """Cut a line into words.

    Blanks and tabs separate. Quotation marks keep them together, and a backslash works inside of them alone. The mark
    that closes a quotation ends the word: ``"a"b`` is two words, ``a"b"`` is one. A quotation without its end goes to
    the end of the line, and includes the newline.
    """
    if '"' not in line:
        return line.split() if line.isascii() and not _strange(line) else _cut(line)
    return _cut(line)


_STRANGE = frozenset("\r\v\f\x1c\x1d\x1e\x1f")


def _strange(line: str) -> bool:
    """Whether ``str.split`` would take more for a blank than iptables does."""
    return not _STRANGE.isdisjoint(line)


def _cut(line: str) -> list[str]:
    words: list[str] = []
    word: list[str] = []
    quotation = escaped = False
    for character in [*line, "\n"]:
        if quotation:
            if escaped:
                word.append(character)
                escaped = False
                continue
            if character == "\\":
                escaped = True
                continue
            if character != '"':
                word.append(character)
                continue
            quotation = False
        elif character == '"':
            quotation = True
            continue
        elif character not in " \t\n":
            word.append(character)
            continue
        elif not word:
            continue
        words.append("".join(word))
        word = []
    if word:
        words.append("".join(word))
    return words
