"""Run a command as on a kernel without IPv6: every socket of that family is refused, as with ``ipv6.disable=1``.

A seccomp filter does it (seccomp(2)), which all processes of the command inherit, those in a lab as well.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
import sys

SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ERRNO, _ALLOW = 0x00050000, 0x7FFF0000
_CALL, _FIRST_ARGUMENT = 0, 16
PROGRAM = (
    (_LOAD, 0, 0, _CALL),
    (_EQUAL, 0, 3, SOCKET),
    (_LOAD, 0, 0, _FIRST_ARGUMENT),
    (_EQUAL, 0, 1, socket.AF_INET6),
    (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT),
    (_RETURN, 0, 0, _ALLOW),
)


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in PROGRAM)
    memory = ctypes.create_string_buffer(code, len(code))
    filters = ctypes.create_string_buffer(struct.pack("HP", len(PROGRAM), ctypes.addressof(memory)))
    if os.geteuid() != 0:
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, filters, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
