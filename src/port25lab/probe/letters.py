"""Texts to send to the people who can change something, with the facts that they need."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from port25lab.model.mechanism import Mechanism
from port25lab.probe.case import Diagnosis
from port25lab.probe.client_view import ClientView
from port25lab.probe.places import Place

_TO_PROVIDER = """\
Subject: Outbound mail to {target}, {ports}

Hello,

from my connection{own}, {ports} of {target} ({addresses}) cannot be used{versions}:
{reason}.
{hop}Measured {when} with port25lab probe.

Does your network block or redirect outbound {ports}? If so: how can it be opened for my connection, and which of
your mail servers may I use as a relay until then?
"""

_TO_RECEIVER = """\
Subject: Mail to {target}, {ports}

Hello postmaster,

from my network{own}, {ports} of {target} ({addresses}) cannot be used{versions}:
{reason}.
{hop}Measured {when} with port25lab probe. My own way out is open as far as I can see.

Could you look whether something in front of the server, or a ban of my address, stops it?
"""

_TO_ROUTER = """\
Subject: Mail to {target}, {ports}

Hello,

in your network, {ports} of {target} ({addresses}) cannot be used{versions}:
{reason}.
{hop}Measured {when} with port25lab probe.

Does the router have a list of allowed mail servers or a rule for {ports}? Could you let this server through, or tell me
which port you allow for submission with a log-in (587 or 465)?
"""

_TO_RESOLVER = """\
Subject: The DNS answer for {target}

Hello,

your resolver gives an address for {target} that is not the server's:
{reason}.
Measured {when} with port25lab probe.

Could you take the name out of the filter, or tell me why it is in it?
"""

_LETTERS = {
    Place.OWN_ROUTER: _TO_ROUTER,
    Place.ACCESS_NETWORK: _TO_PROVIDER,
    Place.PLATFORM: _TO_PROVIDER,
    Place.BEFORE_THE_SERVER: _TO_RECEIVER,
    Place.SERVER: _TO_RECEIVER,
    Place.RESOLVER: _TO_RESOLVER,
}


def letter(view: ClientView, group: Sequence[Diagnosis], when: str) -> str | None:
    """The text for the likeliest place; None where the reader can change it alone.

    ``group``: diagnoses that differ in the port and the IP version alone. ``when``: the time of the probe.
    """
    first = group[0]
    if first.place not in _LETTERS or first.mechanism in (Mechanism.NO_NAME, Mechanism.NO_LISTENER):
        return None
    ports = dict.fromkeys(diagnosis.port for diagnosis in group)
    versions = sorted({diagnosis.ip_version for diagnosis in group})
    sessions = [view.session(port, version) for port in ports for version in versions]
    addresses = dict.fromkeys(session.address for session in sessions if session)
    own = ", ".join(one for one in view.own.addresses if not ip_address(one.partition("%")[0]).is_link_local)
    router = f" ({first.router})" if first.router else ""
    return _LETTERS[first.place].format(
        target=view.target,
        ports=f"TCP port{'s' * (len(ports) > 1)} {' and '.join(map(str, ports))}",
        addresses=", ".join(addresses),
        versions=f" over {' and '.join(f'IPv{version}' for version in versions)}",
        own=f" (addresses here: {own})" if own else "",
        reason=f"{first.reason[0].upper()}{first.reason[1:]}" if first.reason else "",
        hop=f"It ends at hop {first.hop}{router}.\n" if first.hop else "",
        when=when,
    )
