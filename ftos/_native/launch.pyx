# SPDX-License-Identifier: AGPL-3.0-or-later
# cython: language_level=3
"""The launch engine as Python sees it: plan bytes and descriptors in, a pid and a pidfd out.

This module only converts; the work is in `prepare_impl.c` and `launch_impl.c`, without the GIL.
"""

import os

from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memset

from ftos.errors import LaunchError, quote


cdef extern from "plan_decode.h" nogil:
    struct plan:
        pass
    const char *plan_decode(const void *data, size_t size, plan *out)


cdef extern from "launch_impl.h" nogil:
    struct launch_failure:
        const char *step
        char object[256]
        int error
    struct prepared:
        pass
    struct launch_request:
        const prepared *prepared
        const char *stage
        int init_fd
        int control_fd
        int status_fd
        int lifeline_fd
        int cgroup_fd
    int launch_prepare(const plan *plan, prepared *prepared, launch_failure *failure)
    void launch_release(prepared *prepared)
    int launch_start(const launch_request *request, int *pidfd, launch_failure *failure)
    int launch_overlay_view(const char *const *layers, size_t count, launch_failure *failure)


cdef object _error(launch_failure *failure, str name):
    step = failure.step.decode()
    thing = failure.object.decode("utf-8", "backslashreplace")
    of = f" {quote(thing)}" if thing else ""
    return LaunchError(
        f"{name}: could not {step}{of}: {os.strerror(failure.error)}",
        "see CONTRIBUTING.md, 'Debug a launch'" if failure.error != 2 else "",
    )


cdef bytes _decode(const unsigned char[::1] data, plan *out):
    """Keep an aligned copy alive and decode it."""
    cdef bytes copy = bytes(data)
    cdef const char *start = copy
    cdef const char *wrong
    wrong = plan_decode(start, len(copy), out)
    if wrong is not NULL:
        raise LaunchError(f"the launch plan can't be read: {wrong.decode()}")
    return copy


def check(const unsigned char[::1] data not None) -> None:
    """Raise LaunchError unless `data` are plan bytes which a launch would accept."""
    cdef plan decoded
    _decode(data, &decoded)


def launch(
    const unsigned char[::1] data not None,
    *,
    str name not None,
    str stage not None,
    int init_fd,
    int control_fd,
    int status_fd,
    int lifeline_fd,
    int cgroup_fd = -1,
) -> tuple[int, int]:
    """Start init in a new container, as the plan bytes `data` say. Return its pid and its pidfd; the caller waits for it.

    name: for messages. stage: an empty directory. The descriptors are those of `struct launch_request`.
    Raises LaunchError, which names step, object and reason; nothing is left behind then.
    """
    cdef plan decoded
    cdef prepared ready
    cdef launch_request request
    cdef launch_failure failure
    cdef int pid, pidfd = -1
    cdef bytes copy = _decode(data, &decoded)
    cdef bytes stage_path = os.fsencode(stage)
    memset(&failure, 0, sizeof(failure))
    request.prepared = &ready
    request.stage = stage_path
    request.init_fd = init_fd
    request.control_fd = control_fd
    request.status_fd = status_fd
    request.lifeline_fd = lifeline_fd
    request.cgroup_fd = cgroup_fd
    with nogil:
        pid = launch_prepare(&decoded, &ready, &failure)
        if pid == 0:
            pid = launch_start(&request, &pidfd, &failure)
            launch_release(&ready)
    if pid < 0:
        raise _error(&failure, name)
    return pid, pidfd


def overlay_view(list layers not None) -> int:
    """A read-only view of directories (str paths, top first) laid over one another: the descriptor of a detached mount.

    It can be walked as /proc/self/fd/N while the descriptor is open. Raises LaunchError.
    """
    cdef const char *paths[64]
    cdef launch_failure failure
    cdef int view
    cdef list kept = [os.fsencode(layer) for layer in layers]
    cdef size_t count = len(kept), i
    if not 0 < count <= 64:
        raise ValueError("1 to 64 layers")
    for i in range(count):
        paths[i] = kept[i]
    memset(&failure, 0, sizeof(failure))
    with nogil:
        view = launch_overlay_view(paths, count, &failure)
    if view < 0:
        raise _error(&failure, "overlay")
    return view
