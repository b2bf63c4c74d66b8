"""Whether this kernel has IPv6, and how a lab enables it where new interfaces start without.

Two boot parameters switch IPv6 off (Linux Documentation/networking/ipv6.rst). With ``ipv6.disable=1`` the kernel has no
IPv6 at all, and a lab is built for IPv4 alone. With ``ipv6.disable_ipv6=1`` new interfaces start without IPv6, and labs
enable it in their own namespaces.
"""

from __future__ import annotations

import socket
from pathlib import Path

PROC = Path("/proc")

SYS = Path("/sys")

ALLOW = {"net/ipv6/conf/all/disable_ipv6": "0"}
"""The sysctl that enables IPv6 on every interface of a network namespace, present and future."""


def works() -> bool:
    """Whether this kernel creates an IPv6 socket. Not cached: it takes some microseconds."""
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
    """The command that brings IPv6 back. It depends on the setting that switched IPv6 off."""
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
