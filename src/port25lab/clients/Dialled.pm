# Loaded into a Perl program by PERL5OPT=-MDialled: says on stderr which addresses the program really connects to.
# swaks prints the name that it was given, and leaves the choice of the address to its socket library.
package Dialled;

use strict;
use warnings;
use Socket ();

BEGIN {
    *CORE::GLOBAL::connect = sub (*$) {
        my ($socket, $address) = @_;
        my ($error, $host) = Socket::getnameinfo($address, Socket::NI_NUMERICHOST(), Socket::NIx_NOSERV());
        print STDERR "dialled: $host\n" unless $error;
        return CORE::connect($socket, $address);
    };
}

1;
