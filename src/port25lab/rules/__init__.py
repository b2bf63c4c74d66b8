"""The language of netfilter: rulesets read, joined to the kernel's listing, and walked by one packet.

Nothing here touches a kernel, and nothing else of port25lab is needed: text in, values out.
"""
