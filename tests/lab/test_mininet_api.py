"""Mininet's own API on a network that the engine built: commands in nodes, without any preparation."""

from __future__ import annotations

import subprocess
import sys

from unshared import ENVIRONMENT, UNSHARE

PROGRAM = """
from port25lab.network.builder import LabNet
from port25lab.scenario.topology import load_topology

net = LabNet(load_topology("hotel", {"rooms": 1}))
net.start()
guest = net["guest-1"]
assert guest.shell is None, "a node has a shell that nothing needs"
print(guest.cmd("ip -color=never -o -4 address show dev", guest.defaultIntf()).split()[3])
print(repr(guest.cmd("echo one; echo two")))
guest.sendCmd("echo three")
print(repr(guest.waitOutput()))
print(guest.pexec(["sh", "-c", "echo four; exit 4"]))
shell = guest.shell
net.stop()
print("shell ended:", shell.poll() is not None)
"""


def test_commands_run_in_a_node_that_had_no_shell() -> None:
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=ENVIRONMENT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    address, *said = done.stdout.splitlines()
    assert address == "172.20.0.11/24"
    assert said == [repr("one\r\ntwo\r\n"), repr("three\r\n"), repr(("four\n", "", 4)), "shell ended: True"]
