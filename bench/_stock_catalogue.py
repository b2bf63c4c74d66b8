"""The baseline of catalogue.py: a plain script on stock Mininet, as an engineer without port25lab would write it.

    python _stock_catalogue.py SCENARIO …

One lab after another, one for each variant of a scenario: Mininet builds it from the catalogue's `Topo`, policies go in
with ipset and iptables-restore, servers are processes in their nodes, and each path is a run of smtplib in its node
with a time limit of 5 s, one after the other. Prints JSON, one object a line, for each lab and each path.

port25lab reads the scenario files, so that both ask the same questions; everything else is Mininet's own API. What a
script of this kind cannot do is left out (``beyond``), so it does less work than port25lab, not more.
"""

from __future__ import annotations

import importlib
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path
from typing import Any

import _sandbox
from mininet.log import setLogLevel
from mininet.net import Mininet

from port25lab.model.outcome import Outcome
from port25lab.model.plan import Plan
from port25lab.model.question import LabConfig, Question
from port25lab.scenario.policy import load_policy
from port25lab.scenario.questions import load_questions
from port25lab.scenario.topology import load_topology

FOLDER = Path(__file__).parent
ARRIVAL_SECONDS = 5.0
"""How long a relay may take. The clients have the same time limit."""


def main(scenarios: list[str]) -> None:
    questions = [question for name in scenarios for question in load_questions(name) if not beyond(question)]
    _sandbox.enter()
    setLogLevel("error")
    for (scenario, variant), asked in groupby(questions, key=lambda question: (question.scenario, question.variant)):
        run_lab(f"{scenario}/{variant}", list(asked))


def beyond(question: Question) -> str | None:
    """Why a plain script does not try this path; None: it tries it."""
    path, config = question.path, question.config
    if question.sequential:
        return "attempts that depend on one another"
    if path.packet or path.client not in CLIENTS_LIKE_SMTPLIB:
        return "hand-made packets, and mail programs with a queue of their own"
    if path.size:
        return "messages of a given size"
    if any(load_policy(str(folder)).services for _, folders in config.policies for folder in folders):
        return "programs in the middle, which a policy brings"
    if question.expected in UNSEEN:
        return f"{question.expected}: smtplib alone cannot tell"
    domain = path.recipient.rpartition("@")[2]
    if any(domain in {**service.get("greylist", {}), **service.get("dnsbl", {})} for service in services(config)):
        return "recipients that greylist or ask a blocklist"
    return None


CLIENTS_LIKE_SMTPLIB = ("aiosmtplib", "smtplib", "swaks")
UNSEEN = (Outcome.INTERCEPTED, Outcome.TAMPERED, Outcome.THROTTLED, Outcome.REACHED)


@cache
def services(config: LabConfig) -> list[dict[str, Any]]:
    nodes = load_topology(str(config.topology), dict(config.parameters)).nodes.values()
    return [service for node in nodes for service in node.services]


def run_lab(name: str, questions: list[Question]) -> None:
    """Build the lab, try its paths, take it down."""
    config, started = questions[0].config, time.perf_counter()
    plan = load_topology(str(config.topology), dict(config.parameters))
    with tempfile.TemporaryDirectory() as folder:
        mailbox = Path(folder, "mailbox")
        mailbox.touch()
        net = Mininet(topo=topology(config), controller=None)
        net.start()
        load_policies(net, config, plan)
        servers = start_servers(net, plan, mailbox)
        say(lab=name, phase="up", seconds=time.perf_counter() - started)
        for question in questions:
            started = time.perf_counter()
            outcome, why = attempt(net, plan, question, mailbox)
            say(path=question.id, outcome=outcome, why=why, seconds=time.perf_counter() - started)
        started = time.perf_counter()
        for server in servers:
            server.kill()
        net.stop()
        say(lab=name, phase="down", seconds=time.perf_counter() - started)


def topology(config: LabConfig) -> Any:
    sys.path.insert(0, str(config.topology.parent))
    module = importlib.import_module(config.topology.stem)
    return module.topos[config.topology.stem](**dict(config.parameters))


def load_policies(net: Any, config: LabConfig, plan: Plan) -> None:
    for node, folders in config.policies:
        for folder in folders:
            names = load_policy(str(folder)).sets
            feed(net[node], ["ipset", "-exist", "restore"], "\n".join(ipset_lines(names, plan)) + "\n")
            for program, file in (("iptables-restore", "rules.v4"), ("ip6tables-restore", "rules.v6")):
                if (folder / file).exists():
                    feed(net[node], [program, "--noflush"], (folder / file).read_text())


def ipset_lines(names: Iterable[str], plan: Plan) -> list[str]:
    lines = []
    for name in names:
        for suffix, family, version in (("", "inet", 4), ("6", "inet6", 6)):
            lines.append(f"create {name}{suffix} hash:net family {family}")
            lines += [f"add {name}{suffix} {network}" for network in plan.sets[name] if network.version == version]
    return lines


def feed(node: Any, argv: list[str], text: str) -> None:
    process = node.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = process.communicate(text.encode())
    if process.returncode:
        raise RuntimeError(f"{node.name}: {' '.join(argv)}: {said.decode()}")


def start_servers(net: Any, plan: Plan, mailbox: Path) -> list[Any]:
    """One process for each node with services; returns when all of them listen."""
    certificate = make_certificate(mailbox.with_name("server.pem"))
    servers = []
    for node in plan.nodes.values():
        if node.services:
            config = {
                "hostname": node.hostname,
                "domains": node.domains,
                "services": node.services,
                "addresses": [str(address.ip) for address in node.addresses],
                "resolvers": [str(address) for address in node.resolvers],
                "records": records(plan),
                "mailbox": str(mailbox),
                "certificate": str(certificate),
            }
            argv = [sys.executable, str(FOLDER / "_stock_server.py")]
            server = net[node.name].popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            server.stdin.write(json.dumps(config).encode())
            server.stdin.close()
            servers.append(server)
    for server in servers:
        if server.stdout.readline() != b"listening\n":
            raise RuntimeError("a server did not start")
    return servers


def make_certificate(file: Path) -> Path:
    """One certificate for all servers; the clients do not verify it."""
    key = file.with_suffix(".key")
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server -days 2"
    subprocess.run([*make.split(), "-keyout", key, "-out", file], check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
    return file


def records(plan: Plan) -> dict[str, list[str]]:
    """The lab's DNS data: ``NAME TYPE`` and its values."""
    found: dict[str, list[str]] = {}
    for node in plan.nodes.values():
        for name in node.names:
            for address in node.published:
                found.setdefault(f"{name}. {'A' if address.version == 4 else 'AAAA'}", []).append(str(address))
        for domain in node.domains:
            found.setdefault(f"{domain}. MX", []).append(f"10 {node.hostname}.")
    return found


def attempt(net: Any, plan: Plan, question: Question, mailbox: Path) -> tuple[str, str]:
    """One path: a run of the client, then a look into the mailbox."""
    path, node = question.path, plan.nodes[question.path.source]
    server, token = plan.server(path.to), secrets.token_hex(8)
    named = plan.nodes.get(path.to)
    addresses = [str(ip) for ip in named.published if path.ip_version in (None, ip.version)] if named else []
    if is_address(path.to):
        addresses = [path.to]
    sender, password = path.sender or f"{path.source}@port25lab.example", None
    if path.auth:
        password = path.auth.password or (server.users[path.auth.user] if server else "")
    request = {
        "to": path.to,
        "addresses": addresses,
        "resolvers": [str(address) for address in node.resolvers],
        "ip_version": path.ip_version,
        "port": path.port,
        "security": path.security,
        "hostname": node.hostname,
        "user": path.auth and path.auth.user,
        "password": password,
        "mail_from": sender,
        "rcpt_to": path.recipient,
        "message": f"From: <{sender}>\r\nTo: <{path.recipient}>\r\nSubject: {token}\r\n\r\nA test.\r\n",
    }
    argv = [sys.executable, str(FOLDER / "_stock_client.py")]
    client = net[path.source].popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, complained = (text.decode().strip() for text in client.communicate(json.dumps(request).encode()))
    outcome, _, why = said.partition(": ")
    if client.returncode:
        return "error", complained
    if outcome != "sent":
        return outcome, why
    return ("delivered" if arrived(token, mailbox) else "deferred"), why


def is_address(text: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(text))
    return False


def arrived(token: str, mailbox: Path) -> bool:
    end = time.perf_counter() + ARRIVAL_SECONDS
    while time.perf_counter() < end:
        if token in mailbox.read_text():
            return True
        time.sleep(0.02)
    return False


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
