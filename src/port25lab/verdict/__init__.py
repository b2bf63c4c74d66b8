"""From evidence to a verdict: outcome, mechanism, blame. Pure functions; nothing waits, reads or starts anything.

views         one attempt as classifiers ask for it: who answered, who ended it, what was offered; and its control
rules         what the kernel's decisions say: which packet a rule kept from passing, and how
middleboxes   what stands in between does: who took the connection, what was altered, who cut it
replies       what a real server's words mean: a table of SMTP replies
pipeline      all of them in their order
judge         outcome and mechanism held against the trace, the control and the expectation
"""
