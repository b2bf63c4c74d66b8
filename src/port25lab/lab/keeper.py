"""The keeper: the process that keeps a lab up after the command that started it has ended.

It holds the lab, and the same lab without policies, whose answers are the controls. Both end with it, however it ends.
It ends when it is told to, when its time is over, when its user logs out, when a lab of its ends, and on a signal.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence

from port25lab.errors import LabError, MachineError, Port25labError
from port25lab.kernel import own_python
from port25lab.lab import live_messages as messages
from port25lab.lab import protocol, registry
from port25lab.lab.handle import Lab
from port25lab.lab.sandboxes import Sandboxes
from port25lab.machine import capacity
from port25lab.model.evidence import Evidence
from port25lab.model.path import PathSpec

PROGRAM = (
    "from port25lab.lab import keeper\n"
    'keeper.main(start["listener"], start["starter"], start["session"], start["name"], start["seconds"])\n'
)

LOOK_SECONDS = 2.0
"""How often the keeper looks whether its socket is still there: logind removes it when the user has logged out."""

RUNTIME_FOLDER = "XDG_RUNTIME_DIR"


def start(name: str, contents: messages.Contents, seconds: float | None = None) -> messages.Described:
    """Start a lab that stays up. Returns when its services answer.

    ``seconds``: how long it stays up; None: until it is ended. Raises InputError, MachineError and LabError; then
    nothing is left.
    """
    listener = registry.claim(name)
    number = registry.inode(name)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    session = _session()
    descriptors = [listener.fileno(), theirs.fileno(), *([session] if session is not None else [])]
    runtime = {RUNTIME_FOLDER: os.environ[RUNTIME_FOLDER]} if os.environ.get(RUNTIME_FOLDER) else {}
    command = own_python.command(
        "os.environ.update(start['runtime'])\n" + PROGRAM,
        listener=listener.fileno(),
        starter=theirs.fileno(),
        session=session,
        name=name,
        seconds=seconds,
        runtime=runtime,
    )
    try:
        with ours:
            with listener, theirs:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=descriptors,
                    start_new_session=True,
                    cwd="/",
                )
            try:
                ours.sendall(contents.as_line())
                with ours.makefile("rb") as lines:
                    line = lines.readline()
            except OSError:
                line = b""
            if not line:
                raise LabError("the process that keeps the lab ended while it started")
            answer = messages.ANSWER.validate_json(line)
            if isinstance(answer, messages.Refused):
                process.wait(10)
                raise answer.exception()
            if not isinstance(answer, messages.Described):
                raise LabError("the lab gave the wrong answer")
            ours.sendall(b"\n")
            process.returncode = 0  # it outlives this process, and is not waited for
            return answer
    except BaseException:
        if number is not None:
            registry.release(name, number)
        raise
    finally:
        if session is not None:
            os.close(session)


def _session() -> int | None:
    """A descriptor that is readable when the terminal's session has ended; None where logind tells of the log-out."""
    if os.environ.get(RUNTIME_FOLDER):
        return None
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return os.pidfd_open(os.getsid(0))
    except OSError:  # no terminal: no log-out either
        return None


def main(listener: int, starter: int, session: int | None, name: str, seconds: float | None) -> None:
    """Keep a lab. The descriptors are those of ``start``."""
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    own = registry.inode(name)
    with socket.socket(fileno=starter) as order:
        try:
            with order.makefile("rb") as lines:
                line = lines.readline()
                if not line:
                    return
                with contextlib.ExitStack() as stack:
                    keeper = Keeper(name, messages.Contents.decoded(line), seconds, stack)
                    order.sendall(keeper.described().as_line())
                    if not lines.readline():  # the command was ended before it could say that the lab is up
                        return
                    order.close()
                    keeper.serve(socket.socket(fileno=listener), woken, session)
        except (OSError, Port25labError) as error:
            with contextlib.suppress(OSError):
                order.sendall(messages.Refused.of(error).as_line())
        finally:
            if own is not None:
                with contextlib.suppress(MachineError, OSError):
                    registry.release(name, own)
    os._exit(0)  # threads may still wait for requests of commands


class Keeper:
    """A lab, its control, and the answers to commands."""

    def __init__(
        self, name: str, contents: messages.Contents, seconds: float | None, stack: contextlib.ExitStack
    ) -> None:
        """Start both labs. They end with ``stack``."""
        self._name, self._contents, self._since = name, contents, time.time()
        self._ends = None if seconds is None else self._since + seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        sandboxes = stack.enter_context(Sandboxes())
        ruled = [node for node, some in contents.policies.items() if any(one.sees_neighbours for one in some)]
        needs = [capacity.Need.of(contents.plan, 1, 1, nodes) for nodes in ([ruled, []] if contents.policies else [[]])]
        capacity.require_descriptors(needs, sandboxes.descriptors)
        if capacity.fit(needs, len(needs), sandboxes.way, sandboxes.own_descriptors) < len(needs):
            remedy = "end other labs: port25lab down NAME"
            raise MachineError("no room for a lab and its control, the same lab without policies", remedy)
        self._lab = stack.enter_context(Lab(sandboxes, contents.plan, contents.policies))
        self._without = stack.enter_context(Lab(sandboxes, contents.plan, {})) if contents.policies else None
        self._controls: dict[PathSpec, Evidence] = {}
        self._one_by_one = threading.Lock()
        self._over, self._told = socket.socketpair()

    def described(self) -> messages.Described:
        """What the lab is."""
        return messages.Described(
            name=self._name,
            contents=self._contents,
            keeper=os.getpid(),
            pid=self._lab.pid,
            since=self._since,
            ends=self._ends,
        )

    def serve(self, listener: socket.socket, woken: socket.socket, session: int | None) -> None:
        """Answer commands until the lab is to end."""
        own = registry.inode(self._name)
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        for lab in filter(None, (self._lab, self._without)):
            poll.register(lab.fileno(), select.POLLRDHUP)
        for ending in (woken.fileno(), self._over.fileno(), *([session] if session is not None else [])):
            poll.register(ending, select.POLLIN)
        while own is not None and registry.inode(self._name) == own:
            left = LOOK_SECONDS if self._end is None else min(LOOK_SECONDS, self._end - time.monotonic())
            if left <= 0:
                return
            for descriptor, _ in poll.poll(left * 1000):
                if descriptor != listener.fileno():
                    return
                client, _ = listener.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        """Answer the requests of one command."""
        held: set[int] = set()
        with contextlib.suppress(OSError), client, client.makefile("rb") as lines:
            try:
                registry.require_same_user(client)
            except Port25labError:
                return
            for line in lines:
                answer: messages.Answer
                request: messages.Request | None = None
                try:
                    request = messages.REQUEST.validate_json(line)
                    answer = self._answer(request)
                except Exception as error:
                    answer = messages.Refused.of(error)
                if isinstance(answer, protocol.SessionWaits):
                    held.add(answer.session)
                elif isinstance(request, messages.GoOn):
                    held.discard(request.session)
                client.sendall(answer.as_line())
        for session in held:
            with contextlib.suppress(Port25labError), self._one_by_one:
                self._lab.go_on(session)

    def _answer(self, request: messages.Request) -> messages.Answer:
        match request:
            case messages.Describe():
                return self.described()
            case messages.End():
                # The command reads until this process has ended: its connection closes then.
                self._told.send(b"\0")
                return messages.Ended()
        with self._one_by_one:
            match request:
                case messages.Try(path=path):
                    return messages.Tried(evidence=_tried(self._lab, path), control=self._control(path))
                case messages.Hold(path=path):
                    held = self._lab.open_session(path)
                    if isinstance(held, int):
                        return protocol.SessionWaits(session=held)
                    return messages.Tried(evidence=held, control=self._control(path))
                case messages.GoOn(session=session, path=path):
                    return messages.Tried(evidence=self._lab.go_on(session), control=self._control(path))
                case messages.Count():
                    return protocol.Counted(nodes=self._lab.counters())
                case messages.Log(since=since, nodes=nodes):
                    return self._lab.log(since, nodes)
                case messages.EnterNode(node=node):
                    way = self._lab.enter(node)
                    return messages.Way(
                        command=list(way.command), etc=way.etc, network=way.network, confine=list(way.confine)
                    )
                case messages.Replace(node=node, policies=policies):
                    started = time.perf_counter()
                    self._lab.reload(node, policies)
                    now: Mapping[str, Sequence[object]] = self._contents.policies | {node: policies}
                    self._contents = self._contents.model_copy(update={"policies": now})
                    return messages.Replaced(seconds=time.perf_counter() - started)

    def _control(self, path: PathSpec) -> Evidence | None:
        if self._without is None:
            return None
        if path not in self._controls:
            found = _tried(self._without, path)
            if found.error is None and found.unproven is None:
                self._controls[path] = found
            return found
        return self._controls[path]


def _tried(lab: Lab, path: PathSpec) -> Evidence:
    """The evidence of a path, tried once more where the first attempt proved nothing."""
    found = lab.attempt(path)
    if found.unproven is None:
        return found
    return lab.attempt(path).model_copy(update={"retried": found.unproven})
