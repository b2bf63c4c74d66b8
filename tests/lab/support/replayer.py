"""Loads rules by iptables in one namespace, makes them again in another one, and prints what both list.

A program of its own, to be run by ``unshare --user --map-root-user --net``. In: a line of JSON, texts for
``iptables-restore``. Out: for each text whether it was taken, and the two listings, by iptables-save and by nft.
"""

from __future__ import annotations

import json
import subprocess
import sys

from port25lab.kernel import namespaces
from port25lab.network import replay


def listed() -> list[str]:
    texts = [
        subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        for argv in (["iptables-save"], ["nft", "list", "ruleset"])
    ]
    return [line for text in texts for line in text.splitlines() if not line.startswith("#")]


for text in json.loads(sys.stdin.readline()):
    namespaces.unshare(namespaces.NEWNET)
    subprocess.run(["iptables-restore"], input=text.encode(), check=True)
    recorded, first = replay.record(), listed()
    assert recorded is not None
    namespaces.unshare(namespaces.NEWNET)
    print(json.dumps({"taken": replay.replay(recorded), "first": first, "second": listed()}), flush=True)
