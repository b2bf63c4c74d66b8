# Loaded into a Perl program by PERL5OPT=-MDialled: says on stderr which addresses the program really connects to, and
# connects from the source port DIALLED_FROM.
# swaks prints the name that it was given, and leaves the choice of the address to its socket library. Given a source
# port, IO::Socket::IP would bind to an IPv4 address first, and so prefer IPv4.
#
# Perl's sockets ask for the result of a connect by a second connect. While the kernel has noted an ICMP error and still
# waits for the retransmission, that answers EALREADY; the error itself is in SO_ERROR, where it is fetched from.
package Dialled;

use strict;
use warnings;
use Errno ();
use Socket ();

# Binds the socket to the source port, unless it is bound: a second connect may only ask for the first one's result.
sub bind_to {
    my ($socket, $address) = @_;
    my $port = $ENV{DIALLED_FROM} or return 1;
    my $is_ipv6 = Socket::sockaddr_family($address) == Socket::AF_INET6();
    my $own = getsockname($socket);
    return 1 if $own && ($is_ipv6 ? Socket::unpack_sockaddr_in6($own) : Socket::unpack_sockaddr_in($own))[0];
    return bind($socket, $is_ipv6
        ? Socket::pack_sockaddr_in6($port, Socket::IN6ADDR_ANY())
        : Socket::pack_sockaddr_in($port, Socket::INADDR_ANY()));
}

BEGIN {
    *CORE::GLOBAL::connect = sub (*$) {
        my ($socket, $address) = @_;
        my ($error, $host) = Socket::getnameinfo($address, Socket::NI_NUMERICHOST(), Socket::NIx_NOSERV());
        print STDERR "dialled: $host\n" unless $error;
        bind_to($socket, $address) or return;
        return 1 if CORE::connect($socket, $address);
        if ($! == Errno::EALREADY()) {
            my $noted = getsockopt($socket, Socket::SOL_SOCKET(), Socket::SO_ERROR());
            $! = unpack("i", $noted) || Errno::EALREADY();
        }
        return;
    };
}

1;
