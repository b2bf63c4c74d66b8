"""From questions to a report: which labs are needed, which paths each of them tries, and what came of it.

jobs       questions grouped into labs
engine     labs run side by side, and their answers kept
progress   what a run tells while it goes on
"""
