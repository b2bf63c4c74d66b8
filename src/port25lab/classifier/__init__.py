"""Evidence → outcome and mechanism, with every view that a lab has: the client's, the kernel's, the wire's, the books'.

``classify`` asks a row of small pure functions in turn. Each looks at the views of one attempt and says a finding, or
passes. Nothing here waits, reads or starts anything.

views      one attempt as classifiers ask for it: who answered, who ended it, what was offered; and its control
rules      what the kernel's decisions say: which packet a rule kept from passing, and how
middle     what stands in between says and does: who took the connection, what was altered, who cut it
servers    what a real server's words mean: a table of SMTP replies
pipeline   all of them in their order
"""

from __future__ import annotations

from port25lab.classifier.pipeline import CLASSIFIERS, classify
from port25lab.classifier.views import Finding, Views

__all__ = ["CLASSIFIERS", "Finding", "Views", "classify"]
