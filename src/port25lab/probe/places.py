"""The places where mail can be stopped, seen from the client: advice depends on whose place it is."""

from __future__ import annotations

from enum import StrEnum


class Place(StrEnum):
    """One stretch of the way from a mail program to a mail server."""

    OWN_MACHINE = "own-machine"
    """Rules of this machine (``OUTPUT``, a redirect to a local MTA), a proxy that runs on it, its network set-up."""
    RESOLVER = "resolver"
    """The DNS resolver that this machine asks."""
    OWN_ROUTER = "own-router"
    """The first router: a home router, a hotel's gateway, a container host."""
    ACCESS_NETWORK = "access-network"
    """The access provider behind the first router."""
    PLATFORM = "platform"
    """The cloud or hosting platform on which this machine runs."""
    BEFORE_THE_SERVER = "before-the-server"
    """A firewall, a load balancer or an inspecting box of the receiver."""
    SERVER = "server"
    """The mail server itself."""
