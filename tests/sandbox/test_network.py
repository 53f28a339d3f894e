# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which network an app has: its own loopback, or loudly the host's; the host's abstract sockets never."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.harness import Sandbox, unconfined_python

ASK = "os-services:\n  network: {reason: a test}\n"
SHARED = "interface: network\nprovider: host-shared\n"
LOOK = """
import fcntl, struct

def flags(name):
    with socket.socket() as s:
        return struct.unpack("H", fcntl.ioctl(s, 0x8913, name.encode().ljust(32, b"\\0"))[16:18])[0]

def echo(family, address):
    with socket.create_server((address, 0), family=family) as server:
        with socket.create_connection(server.getsockname()[:2]) as client:
            server.accept()[0].sendall(b"x")
            assert client.recv(1) == b"x"

def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect(address)

def send(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", address)

port, stream, datagram = int(sys.argv[1]), "\\0" + sys.argv[2], "\\0" + sys.argv[3]
print(json.dumps({
    "interfaces": [name for _, name in socket.if_nameindex()],
    "lo up": bool(flags("lo") & 1),
    "own loopback": attempt(echo, socket.AF_INET, "127.0.0.1"),
    "out": attempt(connect, socket.AF_INET, ("192.0.2.1", 9)),
    "routes": len(read("/proc/net/route").splitlines()) - 1,
    "host tcp": attempt(connect, socket.AF_INET, ("127.0.0.1", port)),
    "host stream": attempt(connect, socket.AF_UNIX, stream),
    "host datagram": attempt(send, datagram),
    "raw": attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1),
    "listed": sys.argv[2] in read("/proc/net/unix"),
}))
"""


class Server(threading.Thread):
    """Of the host: a TCP port on the loopback and two abstract sockets; takes whoever comes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.stream, self.datagram = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.names = [f"of-the-host-{os.getpid()}-{id(self)}-{kind}" for kind in ("stream", "datagram")]
        for sock, name in zip((self.stream, self.datagram), self.names, strict=True):
            sock.bind("\0" + name)
        self.stream.listen(16)
        self.tcp.listen(16)

    @property
    def arguments(self) -> tuple[str, ...]:
        return (str(self.tcp.getsockname()[1]), *self.names)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    with closing(server.tcp), closing(server.stream), closing(server.datagram):
        yield server


@pytest.fixture(scope="module", params=["", "none", "empty"])
def alone(request: pytest.FixtureRequest, shared_sandbox: Sandbox, server: Server) -> Any:
    """What an app without network sees: not bound, bound to none, bound to an empty network."""
    shared_sandbox.image = ASK
    shared_sandbox.deployment = f"os-services: {{network: {{instance: {request.param}}}}}\n" if request.param else ""
    return shared_sandbox.python(LOOK, *server.arguments).json()


def in_the_hosts_network(sandbox: Sandbox, code: str, *arguments: str) -> Any:
    sandbox.image = ASK
    sandbox.services = {"all": SHARED}
    sandbox.deployment = "os-services: {network: {instance: all}}\n"
    return sandbox.python(code, *arguments).json()


@pytest.fixture(scope="module")
def shared(shared_sandbox: Sandbox, server: Server) -> Any:
    return in_the_hosts_network(shared_sandbox, LOOK, *server.arguments)


def test_there_is_a_loopback_and_nothing_else(alone: Any) -> None:
    assert (alone["interfaces"], alone["lo up"], alone["own loopback"]) == (["lo"], True, "done")


def test_nothing_outside_is_reached(alone: Any, shared: Any) -> None:
    assert (alone["routes"], alone["out"]) == (0, "ENETUNREACH")
    assert alone["host tcp"] == "ECONNREFUSED"
    assert shared["host tcp"] == "done", "the control: the server is there"


def test_abstract_sockets_of_the_host_are_another_namespaces(alone: Any) -> None:
    assert (alone["host stream"], alone["host datagram"], alone["listed"]) == ("ECONNREFUSED", "ECONNREFUSED", False)


def test_no_raw_sockets(alone: Any, shared: Any) -> None:
    assert {alone["raw"], shared["raw"]} == {"EAFNOSUPPORT"}


def test_host_shared_is_the_hosts_network(shared: Any) -> None:
    assert shared["interfaces"] == [name for _, name in socket.if_nameindex()]
    assert shared["host tcp"] == shared["own loopback"] == "done"


def test_with_host_shared_abstract_sockets_of_the_host_are_out_of_reach(shared: Any, server: Server) -> None:
    """Their namespace is the network's, so landlock keeps them; seen they are, in /proc/net/unix."""
    assert shared["listed"]
    assert (shared["host stream"], shared["host datagram"]) == ("EPERM", "EPERM")
    with socket.socket(socket.AF_UNIX) as control:
        control.connect("\0" + server.names[0])


def test_with_host_shared_all_other_namespaces_are_its_own(shared_sandbox: Sandbox) -> None:
    code = "print(json.dumps({name: os.readlink('/proc/self/ns/' + name) for name in os.listdir('/proc/self/ns')}))"
    inside = in_the_hosts_network(shared_sandbox, code)
    same = {name for name, space in inside.items() if space == os.readlink(f"/proc/self/ns/{name}")}
    assert same == {"net", "time", "time_for_children"}


def test_with_host_shared_the_network_can_not_be_changed(shared_sandbox: Sandbox) -> None:
    """It belongs to the host, where the app has no rights: not even to add an address."""
    code = """
    import fcntl, struct

    def interface_up():
        with socket.socket() as s:
            fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x49))

    def bind_low_port():
        with socket.socket() as s:
            s.bind(("127.0.0.1", 1))

    def add_route():
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
            s.send(struct.pack("=IHHIIBBBBBBBBI", 28, 24, 0x605, 1, 0, 2, 0, 0, 0, 254, 3, 0, 1, 0))
            answer = s.recv(4096)
            number = -struct.unpack_from("=i", answer, 16)[0]
            if number:
                raise OSError(number, "refused")

    print(json.dumps([attempt(interface_up), attempt(bind_low_port), attempt(add_route)]))
    """
    inside, control = in_the_hosts_network(shared_sandbox, code), unconfined_python(code).json()
    assert inside[0] == inside[2] == "EPERM"
    assert control[0] == "done"
    first_free = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    assert inside[1] == ("EACCES" if first_free > 1 else "done")
