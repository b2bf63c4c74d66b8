"""What ``ask`` and ``reload`` do."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import typer

from port25lab.cli import result_files
from port25lab.engine import live
from port25lab.errors import NOT_TOLD, InputError, LabError
from port25lab.machine import doctor
from port25lab.model.client_kinds import CLIENT_KINDS
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.verdict import Verdict
from port25lab.report import console as console_module
from port25lab.report import explain
from port25lab.report.streams import print_problems


def ask(path: PathSpec, lab: str | None, json_file: Path | None, session: bool) -> int:
    """Try one path. Returns the exit code: 0 delivered, 1 not, 4 where port25lab could not tell.

    ``session``: open a session, and send the message in it when a line, or the end, comes from standard input.
    """
    results = result_files.chosen(json=json_file)
    result_files.require(results)
    if path.client in CLIENT_KINDS:
        doctor.require_program(CLIENT_KINDS[path.client].program, f"client {path.client}")
    started = time.time()
    with live.LiveLab(lab) as running:
        name = running.name
        try:
            verdict = _in_session(running, path) if session else running.ask(path)
        except LabError as error:
            typer.echo(f"port25lab: {error}", err=True)
            return NOT_TOLD
    problems = result_files.write(live.report([verdict], started), results)
    console = console_module.open_console(stderr=result_files.on_stdout(results))
    console_module.emit(console, explain.explain(verdict, command(path, name)))
    return print_problems(problems, exit_code(verdict))


def _in_session(running: live.LiveLab, path: PathSpec) -> Verdict:
    held = running.open_session(path)
    if isinstance(held, Verdict):
        return held
    reload = f"port25lab reload NODE POLICY --lab {shlex.quote(running.name)}"
    typer.echo(f"a session from {path.source} to {path.to} port {path.port} is open; it sends on Enter", err=True)
    typer.echo(f"meanwhile, in another terminal: {reload}", err=True)
    sys.stdin.readline()
    return held.go_on()


def exit_code(verdict: Verdict) -> int:
    """0 where the mail was delivered, 4 where port25lab could not tell, else 1."""
    if verdict.outcome is Outcome.ERROR:
        return NOT_TOLD
    return 0 if verdict.outcome is Outcome.DELIVERED else 1


def command(path: PathSpec, lab: str) -> str:
    """The command that asks again."""
    words = ["port25lab", "ask", path.source, path.to, "--port", str(path.port), "--lab", lab]
    words += ["--security", path.security.value] if path.security.value != "none" else []
    words += ["--auth", path.auth.user] if path.auth else []
    words += ["--ip", str(path.ip_version)] if path.ip_version else []
    words += ["--client", path.client] if "client" in path.model_fields_set else []
    return shlex.join(words)


def reload(node: str, policies: Sequence[str], lab: str | None) -> None:
    """Replace the policies under test of a node in a running lab."""
    if not policies:
        raise InputError("no policy to load", allowed="names of policies or their folders")
    with live.LiveLab(lab) as running:
        seconds = running.reload(node, policies)
        typer.echo(f"{node} in lab {running.name} has new rules: {' + '.join(policies)}, {seconds:.2f} s")
