"""Starts a lab, and runs programs in its nodes. Each line of stdin is a JSON array: NODE and then argv.

A program of its own, so that it can run as an ordinary user while the test is root. Argument: ``user-namespace``, or
``no-user-namespace`` for the way that root has where user namespaces are forbidden.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from port25lab.lab.handle import Lab
from port25lab.lab.sandboxes import Sandboxes
from port25lab.machine import sandbox_trial
from port25lab.scenario.questions import lab_config

if sys.argv[1] == "no-user-namespace":
    sandbox_trial.find = lambda: sandbox_trial.Way(user_namespace=False)

with Sandboxes() as sandboxes:
    assert sandboxes.user_namespace == (sys.argv[1] == "user-namespace")
    with Lab(sandboxes, lab_config(str(Path(__file__).with_name("street.py")), {}, {}).plan, {}) as lab:
        print("up", flush=True)
        for line in sys.stdin:
            node, *argv = json.loads(line)
            print(lab.run(node, argv).model_dump_json(), flush=True)
