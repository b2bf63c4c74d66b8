"""The options of ``port25lab probe``. What the command does is in ``probe``, which takes longer to import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EPILOG = "\n\n".join(
    [
        "Examples:",
        "[bold]port25lab probe mail.example.com[/bold]  [dim]what of 25, 465, 587 and 2525 is open from here[/dim]",
        "[bold]port25lab probe --mx example.com[/bold]  [dim]its MX: can a mail server here send to it?[/dim]",
        "[bold]port25lab probe mx1.example.com --control mx.example.org[/bold]  [dim]that host, or port 25?[/dim]",
        "[bold]port25lab probe mx.example.com --json -[/bold]  [dim]all observations, for programs[/dim]",
        "[bold]port25lab probe mx.example.com --html page.html --share[/bold]  [dim]to post: addresses masked[/dim]",
        "[bold]port25lab probe mx.example.com --every 5m --for 1h[/bold]  [dim]constant or changing?[/dim]",
        "[bold]port25lab probe mx.example.com --send-to you@example.com --from me@example.org[/bold]  "
        "[dim]sends one message[/dim]",
        "No mail is sent without --send-to. Root (CAP_NET_RAW) adds the TTL of answers, and nothing else.",
        "Exit codes: 0 port 25 works; 1 it does not; 2 bad usage, or a name that does not resolve; "
        "3 this machine lacks something; 4 the results could not be written.",
    ]
)


def probe_command(
    hosts: Annotated[list[str], typer.Argument(metavar="HOST...", help="Names or addresses; with --mx mail domains.")],
    mx: Annotated[bool, typer.Option("--mx", help="HOST is a mail domain: probe its MX.")] = False,
    ports: Annotated[str, typer.Option("--ports", metavar="PORTS", help="Which ports, by commas.")] = "25,465,587,2525",
    only4: Annotated[bool, typer.Option("-4", help="IPv4 alone.")] = False,
    only6: Annotated[bool, typer.Option("-6", help="IPv6 alone.")] = False,
    control: Annotated[
        str | None, typer.Option("--control", metavar="HOST", help="Another host whose port 25 is tried beside.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For everything together.")] = 6.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all observations as JSON; -: to stdout.")
    ] = None,
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one page.")] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Mask this side's addresses and names, in everything that is said.")
    ] = False,
    every: Annotated[
        str | None, typer.Option("--every", metavar="TIME", help="Probe again each time, such as 5m.")
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="With --every: end after this time, such as 1h.")
    ] = None,
    send_to: Annotated[
        str | None, typer.Option("--send-to", metavar="ADDRESS", help="Send a message to this address.")
    ] = None,
    sender: Annotated[str | None, typer.Option("--from", metavar="ADDRESS", help="The sender of that message.")] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Log in, on port 587; over verified TLS alone.")
    ] = None,
    password: Annotated[
        str | None,
        typer.Option("--password", metavar="WORD", envvar="PORT25LAB_PASSWORD", help="The password that goes with it."),
    ] = None,
) -> None:
    """What is blocked or altered between this machine and a mail server, at which hop, and which ports work instead."""
    from port25lab.cli import probe  # DNS and TLS libraries: a fifth of a second that --help does without

    options = probe.ProbeOptions(
        hosts=hosts,
        mx=mx,
        ports=ports,
        only4=only4,
        only6=only6,
        control=control,
        timeout=timeout,
        json_file=json_file,
        html_file=html_file,
        share=share,
        every=every,
        time_limit=time_limit,
        send_to=send_to,
        sender=sender,
        user=user,
        password=password,
    )
    raise typer.Exit(probe.run(options))
