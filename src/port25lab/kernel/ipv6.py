"""Whether this kernel has IPv6, and how a lab gets it where the machine starts every namespace without.

Two boot parameters switch IPv6 off. ``ipv6.disable=1`` leaves the kernel without it: no socket, no address, and a lab
is built for IPv4 alone. ``ipv6.disable_ipv6=1`` only makes new interfaces start without; a lab allows it again in its
own namespaces (Linux Documentation/networking/ipv6.rst).
"""

from __future__ import annotations

import socket
from pathlib import Path

PROC = Path("/proc")

SYS = Path("/sys")

ALLOW = {"net/ipv6/conf/all/disable_ipv6": "0"}
"""The sysctl that allows IPv6 on every interface of a namespace, those to come included."""


def works() -> bool:
    """Whether this kernel makes an IPv6 socket. Tried each time, in some microseconds."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True


def starts_disabled() -> bool:
    """Whether the interfaces of this thread's network namespace start without IPv6."""
    try:
        return (PROC / "sys/net/ipv6/conf/default/disable_ipv6").read_text().strip() == "1"
    except OSError:  # no IPv6 at all
        return False


def remedy() -> str:
    """The command that gives the kernel IPv6: it depends on who took it away."""
    if _read(SYS / "module/ipv6/parameters/disable") != "1":
        return "boot a kernel with CONFIG_IPV6"
    if "ipv6.disable=1" in _read(PROC / "cmdline").split():
        return "sudo sed -i 's/ipv6.disable=1//' /etc/default/grub && sudo update-grub && sudo reboot"
    return "remove `options ipv6 disable=1` from /etc/modprobe.d, then: sudo update-initramfs -u && sudo reboot"


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
