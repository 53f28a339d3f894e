# SPDX-License-Identifier: AGPL-3.0-or-later
"""The program that downloads, run as it is in a container, against a server that can be told to misbehave."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ftos.image import download
from ftos.image.download import Order
from ftos.image.watchdog import fetching

Answer = Callable[[BaseHTTPRequestHandler], None]
HASTY = (
    "import sys; sys.path.insert(0, sys.argv[1]); import download as d; d.GRACE = 0.5; sys.exit(d.main(*sys.argv[2:]))"
)


class Server:
    """`answers`: path → what is sent; what is not there is told so. `asked`: all paths, as they came."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Answer] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                answer = outer.answers.get(self.path)
                if callable(answer):
                    with suppress(OSError):  # the other side has given up
                        answer(self)
                elif answer is None:
                    self.send_error(404)
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


class Client:
    def __init__(self, directory: Path) -> None:
        self.directory = directory / "got"
        self.directory.mkdir()
        self._orders = directory / "orders"

    def get(self, *orders: Order, hasty: bool = False) -> tuple[int, list[str]]:
        """Exit status and output."""
        self._orders.write_text(json.dumps(orders))
        program = Path(download.__file__)
        start = (
            [sys.executable, "-I", "-c", HASTY, str(program.parent)] if hasty else [sys.executable, "-I", str(program)]
        )
        done = subprocess.run(
            [*start, str(self._orders), str(self.directory)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stderr == ""
        return done.returncode, done.stdout.splitlines()

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.directory.iterdir()}


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


def order(url: str, name: str = "a", limit: int = 1000, numbered: bool = False) -> Order:
    return Order([(url, f"<{url}>")], name, limit, numbered)


def drip(request: BaseHTTPRequestHandler) -> None:
    """A body which comes byte by byte, so that no timeout of the connection ever ends it."""
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    for _ in range(1000):
        request.wfile.write(b"x")
        time.sleep(0.05)


def drip_headers(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(1000):
        request.wfile.write(b"x")
        time.sleep(0.05)


def break_off(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b"x" * 10)


def test_files_come_with_their_progress(server: Server, client: Client) -> None:
    server.answers = {"/a": b"A", "/b": bytes(3 << 20)}
    status, lines = client.get(order(f"{server.url}/a"), order(f"{server.url}/b", "b", 3 << 20))
    assert (status, lines[:2], lines[-1]) == (0, ["(1/2) a 0 MiB", "(2/2) b 0 MiB"], "(2/2) b 3 MiB")
    assert client.files == {"a": b"A", "b": bytes(3 << 20)}


def test_numbered_files_come_up_to_the_first_that_is_not_there(server: Server, client: Client, tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"local")
    server.answers = {f"/p/{number}": str(number).encode() for number in (0, 1, 3)}
    assert client.get(order(f"{server.url}/p/", "", 2, numbered=True))[0] == 0
    assert client.files == {"0": b"0", "1": b"1"}
    assert client.get(order(f"file://{tmp_path}/", "of-", 5, numbered=True))[0] == 0
    assert client.files == {"0": b"0", "1": b"1", "of-0": b"local"}


def test_all_numbered_files_together_are_bounded(server: Server, client: Client) -> None:
    server.answers = {f"/p/{number}": bytes(10) for number in range(100)}
    status, lines = client.get(order(f"{server.url}/p/", "", 25, numbered=True))
    assert (status, lines[-1]) == (1, f"<{server.url}/p/>2: larger than 5 bytes")


@pytest.mark.parametrize(
    ("answer", "limit", "times", "why"),
    [
        (None, 1000, 1, "the server says 404 Not Found"),
        (lambda request: request.send_error(500, "Oh"), 1000, 3, "the server says 500 Oh"),
        (b"too much", 7, 1, "larger than 7 bytes"),
        (break_off, 1000, 3, "it ended after 10 of 1000 bytes"),
        (lambda request: None, 1000, 3, "Remote end closed connection without response"),
    ],
)
def test_what_may_pass_is_tried_again_and_the_rest_is_told(
    server: Server, client: Client, answer: bytes | Answer | None, limit: int, times: int, why: str
) -> None:
    server.answers = {"/a": answer} if answer is not None else {}
    status, lines = client.get(order(f"{server.url}/a", limit=limit), order(f"{server.url}/b"))
    assert (status, lines[-1], server.asked) == (1, f"<{server.url}/a>: {why}", ["/a"] * times)


def test_the_next_place_is_tried(server: Server, client: Client) -> None:
    server.answers = {"/b": b"B"}
    places = [(f"{server.url}/{name}", name) for name in ("gone", "b", "c")]
    status, lines = client.get(Order([("http://127.0.0.1:9/a", "closed"), *places], "a", 1000))
    assert (status, client.files) == (0, {"a": b"B"})
    assert [line.partition(":")[0] for line in lines if not line.startswith("(")] == ["closed", "gone"]


@pytest.mark.parametrize("answer", [drip, drip_headers])
def test_a_server_that_drips_is_given_up(server: Server, client: Client, answer: Answer) -> None:
    server.answers = {"/a": answer}
    start = time.monotonic()
    status, lines = client.get(order(f"{server.url}/a"), hasty=True)
    assert (status, lines[-1]) == (1, f"<{server.url}/a>: it sends less than 16 KiB a second")
    assert time.monotonic() - start < 5


def test_a_slow_server_that_goes_on_is_good(server: Server, client: Client) -> None:
    def slow(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(15):
            request.wfile.write(bytes(10_000))
            time.sleep(0.1)

    server.answers = {"/a": slow}
    assert client.get(order(f"{server.url}/a", limit=1 << 20), hasty=True)[0] == 0
    assert client.files == {"a": bytes(150_000)}


def test_the_watchdog_leaves_time_for_what_is_expected_and_no_more() -> None:
    nothing = fetching()
    assert (nothing.total, nothing.silence) == (60, 60)
    several = fetching(16 << 10, 160 << 10)
    assert (several.total, several.silence) == (60 + 2 + 11, 60 + 11)
    assert fetching(*[1 << 20] * 300).total < 6 * 3600
