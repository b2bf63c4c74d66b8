"""What this machine can do: ``doctor``, and what a run asks before it starts a lab.

doctor            everything that labs need, examined and required
feature           one thing that labs need or can use, and what a check of it says
features          programs and settings that are looked for
kernel_features   what the kernel can do, tried in a throwaway sandbox
sandbox_trial     how this user gets a sandbox: with a user namespace, as root, or by sudo
capacity          how many labs fit into the limits on namespaces and open files
versions          versions of the kernel and of programs, for the results
"""
