"""Which of the questions a run asks. In: questions, and what the user typed after `-k` and `--ref`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from port25lab.errors import InputError, nearest
from port25lab.model.question import Question

Test = Callable[[Question], bool]

_GRAMMAR = "words, `and`, `or`, `not` and parentheses, such as 'home-server and not ipv6'"


def select(questions: Sequence[Question], expression: str | None, refs: Sequence[str]) -> list[Question]:
    """The questions that match the expression and have one of the refs, in their order.

    Raises InputError for a ref that no question has, for an expression that is none, and where nothing is left.
    """
    if not questions:
        raise InputError("there is no scenario to run", allowed="scenarios of the catalogue, or files of your own")
    chosen_refs = _folded_refs(questions, refs)
    chosen = [question for question in questions if not refs or (question.ref or "").casefold() in chosen_refs]
    if expression is not None:
        try:
            test = _exactly(expression.strip(), questions) or _Parser(expression, questions).parse()
            chosen = [question for question in chosen if test(question)]
        except RecursionError:
            raise InputError("-k is nested too deeply", allowed="fewer parentheses and `not`") from None
    if not chosen:
        asked = [f"-k {expression!r}"] * (expression is not None) + [f"--ref {ref}" for ref in refs]
        raise InputError(f"no path matches {' '.join(asked)}", allowed=f"words of {_offered(questions)}")
    return chosen


def _folded_refs(questions: Sequence[Question], refs: Sequence[str]) -> set[str]:
    known = {question.ref for question in questions if question.ref}
    folded = {ref.casefold() for ref in known}
    for ref in refs:
        if ref.casefold() not in folded:
            raise InputError(f"no path has the ref {ref!r}", allowed=nearest(ref, known))
    return {ref.casefold() for ref in refs}


def _offered(questions: Sequence[Question]) -> str:
    labs = list(dict.fromkeys(f"{question.stable_scenario}/{question.variant}" for question in questions))
    count = f"the id of one of {len(questions)} paths" if len(questions) > 1 else "the only path's id"
    return f"{count} in {', '.join(labs)}"


def _ids(question: Question) -> tuple[str, str, str]:
    """The three forms of a question's id, the longest first."""
    in_scenario = question.id.removeprefix(f"{question.stable_scenario}/")
    return question.id, in_scenario, in_scenario.removeprefix(f"{question.variant}/")


def _exactly(word: str, questions: Sequence[Question]) -> Test | None:
    """A test for one id, if the word is the whole id of a question: ids may be parts of other ids. None otherwise."""
    for form in range(3):
        if any(_ids(question)[form] == word for question in questions):
            return lambda question: _ids(question)[form] == word
    return None


def _contains(word: str) -> Test:
    folded = word.casefold()

    def test(question: Question) -> bool:
        policies = (name for names in question.config.policy_names.values() for name in names)
        texts = (question.id, question.name or "", question.ref or "", *policies)
        return any(folded in text.casefold() for text in texts)

    return test


@dataclass(frozen=True)
class _Token:
    text: str
    column: int
    quoted: bool


_TOKEN = re.compile(
    r"""\s*(?:(?P<paren>[()])|'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<word>[^\s()'"]+)|(?P<odd>\S))"""
)


class _Parser:
    """A recursive descent parser with a method for each rule of the grammar: `or` binds least, then `and`, `not`."""

    def __init__(self, expression: str, questions: Sequence[Question]) -> None:
        self._expression, self._questions = expression, questions
        self._tokens = [self._token(match) for match in _TOKEN.finditer(expression)]
        self._next = 0

    def parse(self) -> Test:
        test = self._or()
        if self._next < len(self._tokens):
            token = self._tokens[self._next]
            raise self._error(f"{token.text!r} comes without `and` or `or` before it", token.column)
        return test

    def _or(self) -> Test:
        tests = [self._and()]
        while self._took("or"):
            tests.append(self._and())
        return lambda question: any(test(question) for test in tests)

    def _and(self) -> Test:
        tests = [self._not()]
        while self._took("and"):
            tests.append(self._not())
        return lambda question: all(test(question) for test in tests)

    def _not(self) -> Test:
        if self._took("not"):
            test = self._not()
            return lambda question: not test(question)
        opened = self._next
        if self._took("("):
            test = self._or()
            if not self._took(")"):
                raise self._error("the parenthesis is not closed", self._tokens[opened].column)
            return test
        return self._word()

    def _word(self) -> Test:
        if self._next == len(self._tokens):
            raise self._error("a word is missing", len(self._expression.rstrip()) + 1)
        token = self._tokens[self._next]
        if not token.quoted and token.text in ("and", "or", ")"):
            raise self._error(f"a word is missing before {token.text!r}", token.column)
        self._next += 1
        return _exactly(token.text, self._questions) or _contains(token.text)

    def _took(self, text: str) -> bool:
        token = self._tokens[self._next] if self._next < len(self._tokens) else None
        taken = token is not None and not token.quoted and token.text == text
        self._next += taken
        return taken

    def _token(self, match: re.Match[str]) -> _Token:
        kind = str(match.lastgroup)
        column = match.start(kind) + 1
        if kind == "odd":
            raise self._error(f"the quotation mark {match[kind]} is not closed", column)
        return _Token(match[kind], column, quoted=kind in ("single", "double"))

    def _error(self, what: str, column: int) -> InputError:
        return InputError(f"-k {self._expression!r}, column {column}: {what}", allowed=_GRAMMAR)
