"""``python -m port25lab``."""

from port25lab.cli import main

main()
