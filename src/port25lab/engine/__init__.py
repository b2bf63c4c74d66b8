"""From questions to a report: which labs are needed, which paths each of them tries, and what came of it.

jobs       questions grouped into labs
engine     labs run side by side, and their answers kept
progress   the events of a run, while it runs
"""
