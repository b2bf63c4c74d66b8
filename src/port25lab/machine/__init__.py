"""What this machine can do: checks for ``port25lab doctor``, and before a run starts a lab.

doctor            everything that labs need, checked and required
feature           one thing that labs need or can use, and the result of a check
features          programs and settings
kernel_features   what the kernel can do, tried in a throwaway sandbox
sandbox_trial     how this user gets a sandbox: with a user namespace, as root, or by sudo
capacity          how many labs fit into the limits on namespaces and open files
versions          versions of the kernel and of programs, for the results
"""
