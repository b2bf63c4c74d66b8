"""From evidence to a judgement: outcome, mechanism, blame. Pure functions.

views         one attempt and its control, with the answers that classifiers need
rules         the kernel's decisions: which packet a rule blocked, and how
middleboxes   nodes between client and server: which one took, altered or cut the session
replies       the meaning of SMTP replies, as a table
pipeline      all classifiers in their order
judge         outcome and mechanism compared with the trace, the control and the expectation
"""
