# Loaded into a Perl program by PERL5OPT=-MDialled: says on stderr which addresses the program really connects to.
# swaks prints the name that it was given, and leaves the choice of the address to its socket library.
#
# Perl's sockets ask for the result of a connect by a second connect. While the kernel has noted an ICMP error and still
# waits for the retransmission, that answers EALREADY; the error itself is in SO_ERROR, where it is fetched from.
package Dialled;

use strict;
use warnings;
use Errno ();
use Socket ();

BEGIN {
    *CORE::GLOBAL::connect = sub (*$) {
        my ($socket, $address) = @_;
        my ($error, $host) = Socket::getnameinfo($address, Socket::NI_NUMERICHOST(), Socket::NIx_NOSERV());
        print STDERR "dialled: $host\n" unless $error;
        return 1 if CORE::connect($socket, $address);
        if ($! == Errno::EALREADY()) {
            my $noted = getsockopt($socket, Socket::SOL_SOCKET(), Socket::SO_ERROR());
            $! = unpack("i", $noted) || Errno::EALREADY();
        }
        return;
    };
}

1;
