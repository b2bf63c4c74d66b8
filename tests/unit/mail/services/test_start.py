import asyncio
import errno
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from loopback_services import USERS, Lab, Net, end, in_loop, node, plan, running
from port25lab.errors import LabError
from port25lab.mail.services.smtp_server import MailServer
from port25lab.mail.services.start import Services
from port25lab.model.evidence import Stage
from port25lab.model.plan import Plan


def world() -> Plan:
    return plan(
        node("mx", 25, {"kind": "mx", "domains": ["example.net"]}),
        node("mx-org", 29, {"kind": "mx", "domains": ["example.org"]}),
        node(
            "provider",
            81,
            {"kind": "submissions", "users": USERS},
            names=("mail.provider.example", "imap.provider.example"),
        ),
        node("pc", 10),
    )


@in_loop
async def test_a_server_is_known_by_the_source_port_that_it_accepted() -> None:
    async with running(world()) as lab:
        port = lab.hosts["pc"].source_port()
        await lab.send("pc", "mx", source_port=port)
        assert lab.answered_by(port) == "mx"
        assert lab.answered_by(1) is None


@in_loop
async def test_a_server_answered_even_where_no_handshake_came_about() -> None:
    async with running(world()) as lab:
        port = lab.hosts["pc"].source_port()
        sock = await lab.hosts["pc"].connect("192.0.2.81", 465, port)
        with sock:
            await asyncio.get_running_loop().sock_sendall(sock, b"EHLO in clear\r\n")
            assert not (await asyncio.get_running_loop().sock_recv(sock, 99)).startswith(b"220")
        assert lab.answered_by(port) == "provider"
        assert lab.services.failures == {}


@in_loop
async def test_a_certificate_has_all_names_and_addresses_of_its_node() -> None:
    async with running(world()) as lab:
        for name in ("mail.provider.example", "imap.provider.example", "192.0.2.81", "2001:db8::81"):
            assert await handshake(lab, name) in ("TLSv1.2", "TLSv1.3")
        with pytest.raises(ssl.SSLCertVerificationError, match=r"doesn't match|not valid for"):
            await handshake(lab, "mail.example.org")


async def handshake(lab: Lab, name: str) -> str:
    sock = await lab.hosts["pc"].connect("192.0.2.81", 465)
    reader, writer = await asyncio.open_connection(sock=sock, ssl=lab.services.client_tls, server_hostname=name)
    try:
        await reader.readline()
        return writer.get_extra_info("ssl_object").version()
    finally:
        writer.close()


@in_loop
async def test_programs_find_the_authority_in_its_file(tmp_path: Path) -> None:
    net = Net(world())
    services = Services(world(), net.hosts)
    await services.start(tmp_path / "ca.pem")
    assert ssl.create_default_context(cafile=tmp_path / "ca.pem").cert_store_stats()["x509_ca"] == 1
    await end(services._supervisor)


@in_loop
async def test_a_listening_socket_that_dies_is_a_failure_of_its_node_alone() -> None:
    async with running(world()) as lab:
        lab.net.listeners["192.0.2.25", 25].shutdown(socket.SHUT_RDWR)
        await lab.send("pc", "mx-org", recipient="x@example.org")
        assert lab.services.failures == {"mx": f"mx on port 25: {os.strerror(errno.EINVAL)}"}
        assert (await lab.send("pc", "mx-org", recipient="x@example.org")).stage is Stage.DONE


@in_loop
async def test_a_server_that_crashes_in_a_session_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(MailServer, "accept", crash)
    async with running(world()) as lab:
        seen = await lab.send("pc", "mx")
        assert (seen.stage, seen.smtp_code, seen.enhanced_code) == (Stage.DATA, 451, "4.3.0")
        assert lab.services.failures == {"mx": "mx on port 25: KeyError: 'a bug'"}


@in_loop
async def test_a_client_that_leaves_is_no_failure() -> None:
    async with running(world()) as lab:
        sock = await lab.hosts["pc"].connect("192.0.2.25", 25)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST
        sock.close()
        assert (await lab.send("pc", "mx")).stage is Stage.DONE
        assert lab.services.failures == {}


@in_loop
async def test_services_are_not_ready_while_one_does_not_answer() -> None:
    net = Net(world())
    services = Services(world(), net.hosts)
    await services.start(Path(os.devnull))
    net.listeners["mx 127.0.0.1", 25].shutdown(socket.SHUT_RDWR)
    with pytest.raises(LabError, match=r"mx: service mx on port 25 does not answer: "):
        await services.ready()
    await end(services._supervisor)


@in_loop
async def test_one_service_of_each_kind_is_asked() -> None:
    net = Net(world())
    services = Services(world(), net.hosts)
    await services.start(Path(os.devnull))
    net.dialled.clear()
    await services.ready()
    assert sorted(net.dialled) == [
        ("mx 127.0.0.1", 25),
        ("mx ::1", 25),
        ("provider 127.0.0.1", 465),
        ("provider ::1", 465),
    ]
    await end(services._supervisor)


@in_loop
async def test_a_certificate_is_made_when_it_is_first_used() -> None:
    async with running(world()) as lab:
        made = lab.services._authority._servers
        made.clear()
        await lab.send("pc", "mx")
        assert not made
        await handshake(lab, "mail.provider.example")
        assert list(made) == ["provider"]


@in_loop
async def test_a_policy_on_the_node_itself_does_not_make_it_unready() -> None:
    net = Net(world())
    services = Services(world(), net.hosts)
    await services.start(Path(os.devnull))
    net.broken["mx 127.0.0.1", 25] = errno.ETIMEDOUT
    await services.ready()
    await end(services._supervisor)


@in_loop
async def test_a_port_that_is_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net(world())

    def taken(address: str, port: int) -> socket.socket:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    monkeypatch.setattr(net.hosts["mx"], "listen", taken)
    services = Services(world(), net.hosts)
    with pytest.raises(LabError, match=r"mx: service mx cannot start: Address already in use"):
        await services.start(Path(os.devnull))
    await end(services._supervisor)


def test_checking_a_plan_starts_no_server() -> None:
    code = "import sys, port25lab.model.service_kinds; sys.exit(not {'aiosmtpd', 'trustme'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
