# SPDX-License-Identifier: AGPL-3.0-or-later
"""The control protocol: both languages mean the same bytes, and a client keeps to its form."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftos.errors import LaunchError
from ftos.runtime import control
from ftos.runtime.control import Answer, Command, Connection, Kind, Reply
from tests.native.plan_bytes import fields

COMMAND = Command(arguments=("echo", "ü", ""), environment=(("A", "b=c"),), directory="/tmp")


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """A client, and init's end of its connection."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield Connection(ours), theirs


def c_values(checkout: Path, tmp_path: Path, expressions: list[str]) -> list[int]:
    """What a C compiler makes of expressions over control.h."""
    lines = "\n".join(f'printf("%lld\\n", (long long)({each}));' for each in expressions)
    source = (
        '#include <stdio.h>\n#include <stddef.h>\n#include "control.h"\nint main(void) {\n' + lines + "\nreturn 0; }\n"
    )
    (tmp_path / "values.c").write_text(source)
    program = tmp_path / "values"
    include = f"-I{checkout / 'ftos/_native'}"
    subprocess.run(["gcc", include, "-o", program, tmp_path / "values.c"], check=True)
    return [int(line) for line in subprocess.run([program], capture_output=True, check=True).stdout.split()]


@pytest.mark.parametrize(
    ("name", "layout"), [("control_request", control._REQUEST), ("control_answer", control._ANSWER)]
)
def test_c_and_python_have_the_same_layout(checkout: Path, tmp_path: Path, name: str, layout: Any) -> None:
    ours = fields(layout)
    wanted = [layout.sizeof()]
    expressions = [f"sizeof(struct {name})"]
    for field, (start, size) in ours.items():
        expressions += [f"offsetof(struct {name}, {field})", f"sizeof(((struct {name} *)0)->{field})"]
        wanted += [start, size]
    assert c_values(checkout, tmp_path, expressions) == wanted
    header = (checkout / "ftos/_native/control.h").read_text()
    body = re.search(rf"struct {name} {{(.*?)}};", re.sub(r"/\*.*?\*/", "", header, flags=re.S), re.S)
    assert body
    assert re.findall(r"\w+(?=[,;])", body[1]) == list(ours)  # none is missing in Python


def test_c_and_python_have_the_same_numbers(checkout: Path, tmp_path: Path) -> None:
    expressions = [f"CONTROL_{kind.name}" for kind in Kind] + [f"REPLY_{reply.name}" for reply in Reply]
    values = c_values(checkout, tmp_path, [*expressions, "CONTROL_PAYLOAD_MAX"])
    assert values == [*Kind, *Reply, control.PAYLOAD_MAX]


def test_a_request_carries_strings_streams_and_size(pair: tuple[Connection, socket.socket]) -> None:
    client, init = pair
    reading, writing = os.pipe()
    client.start(Kind.EXEC, COMMAND, [writing], terminal=0b101, size=os.terminal_size((132, 50)))
    os.close(writing)
    data, received, _, _ = socket.recv_fds(init, 1 << 18, 4)
    payload = b"/tmp\0echo\0\xc3\xbc\0\0A=b=c\0"
    assert data == struct.pack("<IIIIIHHI", 2, 0b101, 3, 1, 0, 50, 132, len(payload)) + payload
    os.write(received[0], b"through")
    os.close(received[0])
    assert os.read(reading, 100) == b"through"
    os.close(reading)


def test_a_request_that_is_too_long_is_refused_before_it_is_sent(pair: tuple[Connection, socket.socket]) -> None:
    client, init = pair
    fixed = len("/\0x\0") + 1
    longest = Command(arguments=("x", "y" * (control.PAYLOAD_MAX - fixed)), environment=(), directory="/")
    client.start(Kind.START, longest, [])
    assert len(init.recv(1 << 18)) == control._REQUEST.sizeof() + control.PAYLOAD_MAX
    longer = Command(arguments=("x", "y" * (control.PAYLOAD_MAX - fixed + 1)), environment=(), directory="/")
    with pytest.raises(LaunchError, match=r"are 131073 bytes, 131072 are possible$") as caught:
        client.start(Kind.START, longer, [])
    assert caught.value.hint == "pass long data through a file or standard input"
    init.setblocking(False)
    with pytest.raises(BlockingIOError):
        init.recv(1)


def test_a_signal_is_one_request_without_payload(pair: tuple[Connection, socket.socket]) -> None:
    client, init = pair
    client.signal(signal.SIGTERM)
    assert init.recv(1000) == struct.pack("<IIIIIHHI", 3, 0, 0, 0, 15, 0, 0, 0)


def test_a_signal_to_an_init_that_has_gone_is_no_error(pair: tuple[Connection, socket.socket]) -> None:
    client, init = pair
    init.close()
    client.signal(signal.SIGTERM)
    assert client.receive() is None


def test_answers_are_read_with_their_descriptor(pair: tuple[Connection, socket.socket]) -> None:
    client, init = pair
    reading, writing = os.pipe()
    socket.send_fds(init, [struct.pack("<Ii", 1, 42)], [reading])
    os.close(reading)
    answer = client.receive()
    assert answer
    assert (answer.reply, answer.value) == (Reply.STARTED, 42)
    assert not os.get_inheritable(answer.terminal)
    os.write(writing, b"x")
    assert os.read(answer.terminal, 1) == b"x"
    os.close(answer.terminal)
    os.close(writing)
    init.send(struct.pack("<Ii", 2, -1))
    assert client.receive() == Answer(Reply.FAILED, -1)


@pytest.mark.parametrize("data", [b"x", b"1234567"])
def test_a_short_answer_is_none(pair: tuple[Connection, socket.socket], data: bytes) -> None:
    client, init = pair
    init.send(data)
    assert client.receive() is None


def test_sockets_are_found_below_paths_that_are_too_long_for_an_address(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    directory = os.open(deep, os.O_PATH)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"/proc/self/fd/{directory}/control")
        os.close(directory)
        with pytest.raises(ConnectionRefusedError):
            Connection.connect(deep / "control")
        listener.listen(1)
        Connection.connect(deep / "control").close()
    with pytest.raises(FileNotFoundError):
        Connection.connect(deep / "other")
