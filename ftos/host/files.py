# SPDX-License-Identifier: AGPL-3.0-or-later
"""Files that must survive a crash, and files that must not surprise their reader.

`write_atomically`: at any moment, also after a power cut, the path holds all of the old content or all of the new one.
`read_limited`: the content of a regular file, never more than the caller is ready for, and never a hang on a fifo.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from ftos.errors import BadInput, FtosError, NotFound, quote


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Give `path` the content `data` and the permission bits `mode` (the umask has no say), durably.

    The directory must exist. A symlink at `path` is replaced, not followed. Raises FtosError, and leaves no temporary
    file behind, when the file system refuses.
    """
    temporary: str | None = None
    try:
        try:
            fd, temporary = tempfile.mkstemp(prefix=".ftos-", suffix=".tmp", dir=path.parent)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fdatasync(file.fileno())
            os.replace(temporary, path)
            temporary = None
        finally:
            if temporary is not None:
                with suppress(FileNotFoundError):
                    os.unlink(temporary)
        _sync_directory(path.parent)
    except OSError as error:
        raise FtosError(f"can't write {quote(path)}: {error.strerror}") from error


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_limited(path: Path, limit: int) -> bytes:
    """The content of the regular file `path`, at most `limit` bytes; symlinks are followed.

    Raises NotFound when there is none, BadInput when it is larger, no regular file, or can't be read.
    """
    try:
        # O_NONBLOCK: opening a fifo must not wait for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise BadInput(f"{quote(path)} is not a regular file")
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {quote(path)}") from error
    except IsADirectoryError as error:
        raise BadInput(f"{quote(path)} is not a regular file") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise BadInput(f"can't read {quote(path)}: {reason}") from error
    if len(data) > limit:
        raise BadInput(f"{quote(path)} is larger than {limit} bytes")
    return data
