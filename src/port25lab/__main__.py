"""``python -m port25lab``."""

import sys
from pathlib import Path

# Python puts the working directory first; another user may have put modules there.
if not getattr(sys.flags, "safe_path", False) and sys.path[0] != str(Path(__file__).resolve().parents[1]):
    del sys.path[0]

from port25lab.cli.entry import main

main()
