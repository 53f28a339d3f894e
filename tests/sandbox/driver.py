# SPDX-License-Identifier: AGPL-3.0-or-later
"""A launcher as a process of its own, for tests that send it signals, kill it, or put it on a terminal.

It runs a program as the app of the sandbox below TOP, as `ftos run` does; with --exec, as a further process of a
running container, as `ftos exec` does.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import termios
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ftos.errors import FtosError
from ftos.host.places import Places
from ftos.runtime import session
from ftos.runtime.control import Connection, Kind
from tests.sandbox.harness import Sandbox


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--terminal", type=int, help="descriptor of what becomes the controlling terminal")
    parser.add_argument("--repeat", action="store_true", help="again and again")
    parser.add_argument("--exec", type=Path, help="the control socket of a running container")
    parser.add_argument("top")
    parser.add_argument("id")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.terminal is not None:
        fcntl.ioctl(options.terminal, termios.TIOCSCTTY, 0)
        os.close(options.terminal)
    sandbox = Sandbox(Places(Path(options.top) / "root"), Path(options.top) / "tree", id=options.id)
    if options.exec:
        sandbox.prepare()
        return carry(sandbox, options.exec, Kind.EXEC, options.command)
    while True:
        with sandbox.launch() as container:
            status = carry(sandbox, container.control, Kind.START, options.command)
        if not options.repeat:
            return status


def carry(sandbox: Sandbox, control: Path, kind: Kind, command: list[str]) -> int:
    connection = Connection.connect(control)
    try:
        return session.run(connection, kind, sandbox.command(*command))
    except session.StartFailed as failure:
        print(failure, file=sys.stderr)
        return failure.status
    except FtosError as error:
        print(error.message, file=sys.stderr)
        return error.status
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
