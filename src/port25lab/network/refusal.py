"""A connection that a rule refuses, known before the client's own time is over."""

from __future__ import annotations


class ProvenError(OSError):
    """A rule has refused two SYNs, and would refuse every other one.

    ``errno``: what the client would see in the end.
    """
