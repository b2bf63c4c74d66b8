"""The options of the commands for labs that stay up. What they do is in ``labs``, which takes longer to import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from port25lab.cli.help_text import with_examples
from port25lab.errors import Port25labError
from port25lab.scenario import catalogue


def _complete_labs(incomplete: str) -> list[str]:
    from port25lab.lab import registry  # only where a shell asks

    try:
        return [name for name in registry.names() if name.startswith(incomplete)]
    except Port25labError:
        return []


def _complete_nodes(ctx: typer.Context, incomplete: str) -> list[str]:
    from port25lab.engine import live  # the engine takes a third of a second to import

    try:
        with live.LiveLab(ctx.params.get("lab")) as lab:
            lab.limit(live.QUICK_SECONDS)
            nodes = lab.describe().contents.plan.nodes
    except Port25labError:
        return []
    return [name for name in nodes if name.startswith(incomplete)]


def _complete_topologies(incomplete: str) -> list[str]:
    names = [*catalogue.all_names("topologies"), *catalogue.all_names("scenarios")]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


LabName = Annotated[
    str | None,
    typer.Option("--lab", metavar="NAME", help="Which lab; not needed while one is up.", autocompletion=_complete_labs),
]

Node = Annotated[str, typer.Argument(metavar="NODE", help="A node of the lab.", autocompletion=_complete_nodes)]

UP_EXAMPLES = with_examples(
    ("port25lab up residential_isp --policy isp-edge=op25b", "a topology under a policy"),
    ("port25lab up /etc/iptables/rules.v4 --name mine --for 2h", "the mirror of a router"),
)

ASK_EXAMPLES = with_examples(
    ("port25lab ask pc mx:example.net", "port 25, as mail servers do"),
    ("port25lab ask pc provider --port 587 --security starttls --auth alice", "submission"),
    ("port25lab ask pc provider --port 587 --session", "does an open session live on when rules change?"),
)


LOGS_EXAMPLES = with_examples(
    ("port25lab logs", "all nodes of the lab"),
    ("port25lab logs provider -f", "one node, until Ctrl-C"),
)


def up_command(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="TOPOLOGY|SCENARIO|FILE...",
            help="A topology, a scenario or SCENARIO/VARIANT, or a router's files as `check` reads them.",
            autocompletion=_complete_topologies,
        ),
    ],
    policies: Annotated[
        list[str] | None, typer.Option("--policy", metavar="NODE=POLICY", help="A policy on a node. Repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Of the lab.")] = None,
    time_limit: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="End the lab after this time, such as 2h.")
    ] = None,
) -> None:
    """Start a lab that stays up, in the background, until `down`, `--for` or log-out."""
    from port25lab.cli import labs

    labs.up(what, policies or [], name, time_limit)


def ps_command(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """The labs that are up."""
    from port25lab.cli import labs

    labs.ps(as_json)


def inspect_command(
    lab: LabName = None, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """Nodes of a lab: interfaces, addresses, services and policies."""
    from port25lab.cli import labs

    labs.inspect(lab, as_json)


def exec_command(
    node: Node,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="A program and its arguments.")],
    lab: LabName = None,
) -> None:
    """Run a program in a node of a lab. The exit code is the program's."""
    from port25lab.cli import labs

    raise typer.Exit(labs.execute(node, command, lab))


def shell_command(
    node: Annotated[
        str | None,
        typer.Argument(metavar="NODE", help="A node of the lab; none: it asks.", autocompletion=_complete_nodes),
    ] = None,
    lab: LabName = None,
) -> None:
    """A shell in a node of a lab."""
    from port25lab.cli import labs

    raise typer.Exit(labs.shell_in(node, lab))


def mn_command(lab: LabName = None) -> None:
    """Mininet's own prompt on a lab: `NODE COMMAND`, `NODE ping NODE`, `net`, `py`. `exit` leaves the lab up."""
    from port25lab.cli import labs

    raise typer.Exit(labs.mininet_prompt(lab))


def logs_command(
    nodes: Annotated[
        list[str] | None,
        typer.Argument(metavar="NODE...", help="Of these; none: of all.", autocompletion=_complete_nodes),
    ] = None,
    lab: LabName = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """What the services of a lab did: connections, SMTP commands and replies, DNS answers, deliveries."""
    from port25lab.cli import labs

    labs.logs(nodes or [], lab, follow)


def down_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Labs.", autocompletion=_complete_labs)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All labs of yours.")] = False,
    lab: LabName = None,
) -> None:
    """End a lab, and everything in it."""
    from port25lab.cli import labs

    labs.down(names or [], every, lab)


def ask_command(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The node that sends.", autocompletion=_complete_nodes)],
    to: Annotated[str, typer.Argument(metavar="TO", help="A node, a DNS name, or mx:DOMAIN.")],
    port: Annotated[int, typer.Option("--port", min=1, max=65535, metavar="N", help="TCP port.")] = 25,
    security: Annotated[str, typer.Option("--security", metavar="KIND", help="none, starttls or implicit.")] = "none",
    auth: Annotated[str | None, typer.Option("--auth", metavar="USER", help="Log in as this user.")] = None,
    ip: Annotated[int | None, typer.Option("--ip", metavar="4|6", min=4, max=6, help="One IP version alone.")] = None,
    client: Annotated[str | None, typer.Option("--client", metavar="NAME", help="The mail program.")] = None,
    recipient: Annotated[str | None, typer.Option("--recipient", metavar="ADDRESS", help="Envelope recipient.")] = None,
    lab: LabName = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write JSON; -: to stdout.")] = None,
    session: Annotated[
        bool, typer.Option("--session", help="Open a session, wait for Enter, and send the message in it then.")
    ] = False,
) -> None:
    """Try one path in a running lab. Exit code: 0 delivered, 1 not, 4 could not tell."""
    from port25lab.cli import labs_ask
    from port25lab.errors import InputError, nearest
    from port25lab.model.path import Auth, PathSpec, Security

    if security not in list(Security):
        raise InputError(f"--security {security!r}", allowed=nearest(security, list(Security)))
    if ip == 5:
        raise InputError("--ip 5", allowed="4 or 6")
    more = {key: value for key, value in (("client", client), ("recipient", recipient)) if value is not None}
    path = PathSpec(
        source=source,
        to=to,
        port=port,
        security=Security(security),
        auth=Auth(user=auth) if auth else None,
        ip_version=cast("Literal[4, 6] | None", ip),
        **more,
    )
    raise typer.Exit(labs_ask.ask(path, lab, json_file, session))


def reload_command(
    node: Node,
    policies: Annotated[list[str], typer.Argument(metavar="POLICY...", help="Names or folders, in their order.")],
    lab: LabName = None,
) -> None:
    """Replace the policies of a node in a running lab."""
    from port25lab.cli import labs_ask

    labs_ask.reload(node, policies, lab)


def capture_command(
    node: Node,
    interface: Annotated[str, typer.Argument(metavar="IFACE", help="An interface of the node.")],
    lab: LabName = None,
) -> None:
    """Write the packets of an interface to standard output, as pcapng, while they come."""
    from port25lab.cli import labs

    raise typer.Exit(labs.capture(node, interface, lab))


def graph_command(
    topology: Annotated[
        str | None,
        typer.Argument(metavar="TOPOLOGY", help="Or a scenario; none: of a lab.", autocompletion=_complete_topologies),
    ] = None,
    policies: Annotated[
        list[str] | None, typer.Option("--policy", metavar="NODE=POLICY", help="A policy on a node. Repeatable.")
    ] = None,
    lab: LabName = None,
    drawing: Annotated[str, typer.Option("--format", metavar="NAME", help="text, svg, dot or mermaid.")] = "text",
) -> None:
    """Draw a topology, or that of a running lab: nodes, links, policies."""
    from port25lab.cli import labs

    labs.graph(topology, policies or [], lab, drawing)


def watch_command(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="Of the catalogue, or a YAML file.")],
) -> None:
    """Keep a scenario's labs up, and ask again each time that one of its files is saved. Ctrl-C ends it."""
    from port25lab.cli import watch

    watch.watch(scenario)


COMMANDS = (
    ("up", "A lab that stays up.", UP_EXAMPLES, up_command),
    ("ps", "The labs that are up.", "", ps_command),
    ("inspect", "The nodes of a running lab.", "", inspect_command),
    ("ask", "Try one path in a running lab.", ASK_EXAMPLES, ask_command),
    ("exec", "A program in a node of a running lab.", "", exec_command),
    ("shell", "A shell in a node of a running lab.", "", shell_command),
    ("mn", "Mininet's prompt on a running lab.", "", mn_command),
    ("logs", "What the services of a running lab did.", LOGS_EXAMPLES, logs_command),
    ("reload", "New rules for a node of a running lab.", "", reload_command),
    ("capture", "Packets of a running lab, for Wireshark.", "", capture_command),
    ("graph", "A topology as a drawing.", "", graph_command),
    ("watch", "Ask again when a file is saved.", "", watch_command),
    ("down", "End a lab.", "", down_command),
)
"""Each command: name, one line, examples."""
