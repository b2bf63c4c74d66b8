#!/bin/sh
# Prints what port25lab needs to know of a router: rules, sets, addresses, routes, and sysctls of forwarding.
# It only reads, and of files only those below /proc/sys. It needs root: iptables-save does.
# Use: port25lab collect | ssh root@router sh > router.txt

section() {
    echo "#### port25lab snapshot 1: $1"
}

# Run a program. Its own messages become comments, since the terminal may be far away.
show() {
    if ! command -v "$1" >/dev/null 2>&1; then
        echo "# port25lab: not installed: $1"
        return
    fi
    { said=$("$@" 2>&1 >&3 3>&- </dev/null); code=$?; } 3>&1
    if [ "$code" -ne 0 ]; then
        echo "# port25lab: failed: $*: exit code $code"
    fi
    if [ -n "$said" ]; then
        echo "$said" | while IFS= read -r line; do echo "# $line"; done
    fi
}

output_of() {
    section "$*"
    show "$@"
}

# iptables-save, or each table by itself where only the program of that name is there.
rules() {
    if command -v "$1-save" >/dev/null 2>&1 || ! command -v "$1" >/dev/null 2>&1; then
        output_of "$1-save" -c
        return
    fi
    for table in filter nat mangle raw; do
        if "$1" -t "$table" -S >/dev/null 2>&1 </dev/null; then
            output_of "$1" -t "$table" -S
        fi
    done
}

# A name as sysctl writes it: a dot between the parts, and a slash for a dot in the name of an interface.
sysctls() {
    for file in "$@"; do
        # No `read`: it takes byte after byte, and the kernel gives such a file once.
        if value=$(cat "$file" 2>/dev/null); then
            echo "$(echo "${file#/proc/sys/}" | tr ./ /.) = $value"
        fi
    done
}

collect() {
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
    LC_ALL=C
    export PATH LC_ALL
    section hostname
    uname -n
    output_of uname -r
    output_of ip addr
    output_of ip -4 route
    output_of ip -6 route
    section sysctl
    net=/proc/sys/net
    sysctls $net/ipv4/ip_forward $net/ipv4/conf/*/rp_filter $net/ipv4/conf/*/forwarding \
        $net/ipv4/conf/all/route_localnet $net/ipv6/conf/*/forwarding $net/ipv6/conf/all/disable_ipv6 \
        $net/netfilter/nf_conntrack_max $net/netfilter/nf_conntrack_tcp_loose \
        $net/netfilter/nf_conntrack_tcp_be_liberal $net/bridge/bridge-nf-call-iptables \
        $net/bridge/bridge-nf-call-ip6tables
    output_of ipset save
    rules iptables
    rules ip6tables
    output_of nft list tables
    section end
}

collect
