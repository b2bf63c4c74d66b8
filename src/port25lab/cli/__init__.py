"""The commands, one file for each group.

main    the entry point, and the commands that need no more than a few lines
run     ``port25lab run``
probe   ``port25lab probe``
shell   a shell in a node of a lab that is still up
"""
