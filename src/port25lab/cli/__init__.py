"""The commands, one file for each group.

main            the entry point, and the commands that need no more than a few lines
run_options     the options of ``port25lab run``
run             what it does
probe_options   the options of ``port25lab probe``
probe           what it does
collect_options the options of ``port25lab collect``
collect         what it does
annotate        --annotate of run and check
shell           a shell in a node of a lab that is still up
"""
