# SPDX-License-Identifier: AGPL-3.0-or-later
def check(data: bytes) -> None: ...
def launch(
    data: bytes,
    *,
    name: str,
    stage: str,
    init_fd: int,
    control_fd: int,
    status_fd: int,
    lifeline_fd: int,
    cgroup_fd: int = -1,
) -> tuple[int, int]: ...
def overlay_view(layers: list[str]) -> int: ...
