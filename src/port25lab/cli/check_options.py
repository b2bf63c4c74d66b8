"""The options of ``port25lab check``. What the command does is in ``check``, which takes longer to import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from port25lab.cli.annotate import AnnotateOption
from port25lab.cli.help_text import with_examples

EPILOG = with_examples(
    ("port25lab check /etc/iptables/rules.v4 /etc/iptables/rules.v6", "which mail gets through this router"),
    ("iptables-save | port25lab check -", "the rules of this machine"),
    ("port25lab collect | ssh router sh > router.txt; port25lab check router.txt", "a router, with its addresses"),
    ("port25lab check new.v4 --against old.v4", "what the new rules change"),
    ("port25lab check rules.v4 --contract op25b", "leaks, and what is blocked too much"),
    ("port25lab check rules.v4 --outside ppp0 --inside br-lan=192.168.7.0/24", "where the inference is wrong"),
    ("port25lab check rules.v4 --ask router:mx:2525", "one more question"),
)


def check_command(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Rules as iptables-save, ip6tables-save or iptables -S print them, ipset save, ip addr, ip route, or "
            "a snapshot of port25lab collect; told apart by content. -: standard input.",
        ),
    ],
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="OLD", help="Say what changes from these rules. Exit code 1 if anything."),
    ] = None,
    allow: Annotated[
        Path | None,
        typer.Option("--allow", metavar="FILE", help="YAML: changes that are wanted, each with a reason and an end."),
    ] = None,
    contract: Annotated[
        str | None,
        typer.Option(
            "--contract",
            metavar="NAME|FILE",
            help="Hold the rules against what a correct policy does: op25b, ip25b, submission-open, or a YAML file. "
            "Exit code 1 if a row is not met.",
        ),
    ] = None,
    inside: Annotated[
        list[str] | None,
        typer.Option("--inside", metavar="IF[=NET]", help="An inside interface, and its network. Repeatable."),
    ] = None,
    outside: Annotated[
        str | None, typer.Option("--outside", metavar="IF", help="The interface to the internet.")
    ] = None,
    host: Annotated[bool, typer.Option("--host", help="It is a host, no router: ask about its own mail.")] = False,
    ask: Annotated[
        list[str] | None,
        typer.Option("--ask", metavar="FROM:TO:PORT", help="One more question, between nodes. Repeatable."),
    ] = None,
    ip: Annotated[int | None, typer.Option("--ip", metavar="4|6", min=4, max=6, help="One IP version alone.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option("-j", min=1, metavar="N", help="Labs side by side.", show_default="four for each processor"),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write all verdicts as JSON; -: to stdout, the tables to stderr."),
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a report as one page; -: likewise.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a table, a row for each path; -: likewise.")
    ] = None,
    annotate: AnnotateOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Check again when a file is saved, and print what changed.")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", help="All rows, each with its packets.")] = False,
) -> None:
    """Which mail gets through the rules of your router, as they are, and which line of your files decides.

    The lab takes the shape of the router: its interface names, addresses, routes and sets, a host behind each inside
    interface and for each group that your rules name, and mail servers outside.
    """
    from port25lab.cli import check, check_watch, result_files

    options = check.CheckOptions(
        files=files,
        against=against or [],
        allow=allow,
        contract=contract,
        inside=inside or [],
        outside=outside,
        host=host,
        ask=ask or [],
        ip=ip,
        jobs=jobs,
        results=result_files.chosen(json=json_file, csv=csv_file, html=html_file),
        verbose=verbose,
        annotate=annotate,
    )
    if watch:
        check_watch.watch(options)
    raise typer.Exit(check.run(options))
