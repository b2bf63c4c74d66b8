"""Sockets that belong to another user, for rules that are about users (``-m owner``)."""

from __future__ import annotations

import ctypes

_LIBC = ctypes.CDLL(None)


class Acting:
    """Sockets that are made inside belong to a user.

    A context manager. It is about this thread alone (setfsuid(2)), so nothing may be awaited inside.
    """

    def __init__(self, user: int | None) -> None:
        """``user``: None for the process's own."""
        self._user = user

    def __enter__(self) -> None:
        """Raises PermissionError where this process may not act as that user."""
        if self._user is not None:
            self._before = _LIBC.setfsuid(self._user)
            if _LIBC.setfsuid(-1) != self._user:
                raise PermissionError(f"no right to act as user {self._user}")

    def __exit__(self, *_: object) -> None:
        if self._user is not None:
            _LIBC.setfsuid(self._before)
