"""The settings in /proc/sys/net of many network namespaces.

The kernel finds a name below /proc/sys/net by comparing it with that of every network namespace that was looked at
through the same mount of /proc. Over ten thousand namespaces, that alone takes minutes. So /proc is mounted anew for
each few hundred of them.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from port25lab.kernel import namespaces

MOST = 400
"""Network namespaces that are looked at through one mount."""


class NetworkSettings:
    """Writes settings of the network namespace that the thread is in. A context manager.

    ``begin`` tells that the next namespace follows. Where /proc cannot be mounted again, such as in a user namespace
    whose /proc is restricted, the one that is there is used.
    """

    def __init__(self) -> None:
        self._root, self._seen = "/proc/sys", 0
        self._mounted: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()

    def begin(self) -> None:
        """What is written next is for another namespace."""
        self._seen += 1
        if self._seen % MOST == 0:
            self._forget()
            self._mount()

    def write(self, name: str, value: str) -> None:
        """Write a setting, such as ``net/ipv4/ip_forward``. One that this kernel does not have is left out."""
        try:
            descriptor = os.open(f"{self._root}/{name}", os.O_WRONLY)
        except FileNotFoundError:
            return  # this kernel lacks the setting, or IPv6
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)

    def _mount(self) -> None:
        folder = tempfile.mkdtemp()
        try:
            namespaces.mount("proc", folder, "proc", namespaces.MS_NOSUID | namespaces.MS_NODEV | namespaces.MS_NOEXEC)
        except OSError:
            Path(folder).rmdir()
            return
        self._mounted, self._root = folder, f"{folder}/sys"

    def _forget(self) -> None:
        """Unmount /proc again, and with it all names that the kernel keeps."""
        if self._mounted is not None:
            with suppress(OSError):
                namespaces.unmount(self._mounted)
                Path(self._mounted).rmdir()
        self._mounted, self._root = None, "/proc/sys"
