"""Renderings of verdicts: console, JUnit XML, JSON. Each is a pure function of verdicts and needs no lab.

The rooms:

    words      a verdict in words, as plain text: what all renderings and the pytest plugin say of one path
    seed       the rows S1 … S15 of the seed article, gathered from verdicts
    console    tables, failures and summary for a terminal or a pipe
    progress   the one live line while labs run
    junit      JUnit XML for CI servers
    jsonfile   the result schema, written and read back
    files      result files: checked before a run, replaced in one step after it
    streams    standard output and standard error, whose readers may leave
"""
