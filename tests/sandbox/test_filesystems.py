# SPDX-License-Identifier: AGPL-3.0-or-later
"""The mounts inside: what they are, what they hide, and that none can be changed or written to from inside."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ftos.plan.containers import MASKED
from ftos.plan.records import FOREIGN_BASE, LaunchPlan, MountKind
from tests.sandbox.harness import Sandbox, assert_refused, snapshot, unconfined_python

VOLUMES = """\
volumes:
  - {name: notes, class: data, path: /srv/notes}
  - {name: scratch, class: temp, path: /srv/scratch}
  - {name: draft, class: discard, path: /media}
"""
WRITABLE = {"/dev/shm", "/home/app", "/media", "/run/user/1000", "/srv/notes", "/srv/scratch", "/tmp", "/var/tmp"}
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {
    "fd": "/proc/self/fd",
    "ptmx": "pts/ptmx",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
OPENED_FOR_WRITING = (
    *("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger"),
    *("/proc/sys/vm/drop_caches", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/fs/binfmt_misc/register"),
    *("/proc/self/attr/current", "/proc/self/attr/exec", "/proc/self/attr/keycreate", "/proc/self/uid_map"),
    *("/proc/self/setgroups", "/proc/self/oom_score_adj", "/proc/self/coredump_filter", "/proc/self/comm"),
    *("/proc/irq/default_smp_affinity", "/proc/mtrr", "/proc/bus/pci/devices", "/dev/mem", "/dev/kmsg", "/dev/vda"),
    *("/dev", "/dev/pts", "/sys"),
)
"""Opened only: what is written there would hit the machine of a control."""
SEEN = """
import stat
import subprocess

def content(path):
    try:
        if os.path.isdir(path):
            return os.listdir(path)
        if path == "/proc/kmsg" and os.stat(path).st_dev == os.stat("/proc").st_dev:
            return "not read: what is read once is gone"
        with open(path, "rb", buffering=0) as file:
            return file.read(64).decode(errors="replace")  # no more: kcore is as large as all memory
    except OSError as error:
        return errno.errorcode[error.errno]

def how(path):
    return os.O_TMPFILE if os.path.isdir(path) else os.O_NONBLOCK

def is_there(path):
    return os.path.lexists(path)

opened, masked = sys.argv[1].split(), sys.argv[2].split()
print(json.dumps({
    "mounts": read("/proc/self/mountinfo"),
    "open": {path: attempt(os.open, path, os.O_WRONLY | how(path)) for path in opened},
    "masked": {path: content(path) for path in masked if is_there(path)},
    "sys": os.listdir("/sys"),
    "processes": [int(name) for name in os.listdir("/proc") if name.isdigit()],
    "cgroup": read("/proc/self/cgroup"),
    "dev": {name: [os.lstat("/dev/" + name).st_mode, os.lstat("/dev/" + name).st_rdev] for name in os.listdir("/dev")},
    "links": {name: os.readlink("/dev/" + name) for name in os.listdir("/dev") if os.path.islink("/dev/" + name)},
    "pts": {name: os.lstat("/dev/pts/" + name).st_rdev for name in os.listdir("/dev/pts")},
}))
"""
CHANGES = """
import ctypes, stat
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

REMOUNT, BIND, REC, PRIVATE, MOVE, DETACH = 32, 4096, 16384, 1 << 18, 8192, 2
os.makedirs("/tmp/at", exist_ok=True)
print(json.dumps({
    "lift a mask": attempt(call, "umount2", b"/proc/keys", DETACH),
    "unmount /proc": attempt(call, "umount2", b"/proc", DETACH),
    "remount /": attempt(call, "mount", b"none", b"/", None, REMOUNT | BIND, None),
    "remount /proc": attempt(call, "mount", b"none", b"/proc", None, REMOUNT | BIND, None),
    "remount /dev": attempt(call, "mount", b"none", b"/dev", None, REMOUNT | BIND, None),
    "bind a directory": attempt(call, "mount", b"/proc", b"/tmp/at", None, BIND | REC, None),
    "make shared": attempt(call, "mount", b"none", b"/", None, 1 << 20, None),
    "a second proc": attempt(call, "mount", b"proc", b"/tmp/at", b"proc", 0, None),
    "sysfs": attempt(call, "mount", b"sysfs", b"/tmp/at", b"sysfs", 0, None),
    "cgroup": attempt(call, "mount", b"cgroup2", b"/tmp/at", b"cgroup2", 0, None),
    "tmpfs": attempt(call, "mount", b"tmpfs", b"/tmp/at", b"tmpfs", 0, None),
    "change the root": attempt(os.chroot, "/tmp"),
    "a user namespace": attempt(call, "unshare", 0x10000000),
    "a mount namespace": attempt(call, "unshare", 0x20000),
    "the memory device": attempt(os.mknod, "/tmp/mem", stat.S_IFCHR | 0o666, os.makedev(1, 1)),
    "a disk": attempt(os.mknod, "/tmp/disk", stat.S_IFBLK | 0o666, os.makedev(8, 0)),
    "a whiteout": attempt(os.mknod, "/tmp/whiteout", stat.S_IFCHR, 0),
    "a setuid file": attempt(write, "/tmp/setuid", os.O_CREAT | os.O_WRONLY, 0o4755),
    "setuid": attempt(os.chmod, "/tmp/at", 0o4755),
}))
"""
IN_DEV = """
print(json.dumps({
    "make a file": attempt(write, "/dev/made", os.O_CREAT | os.O_WRONLY),
    "remove a device": attempt(os.unlink, "/dev/null"),
    "rename a device": attempt(os.rename, "/dev/null", "/dev/zero"),
    "write to null": attempt(write, "/dev/null"),
    "open a terminal": attempt(os.openpty),
}))
"""
WRITES = """
import fcntl, mmap
top = sys.argv[1]
file, directory = top + "/etc/of-the-app", top + "/etc"

def map_shared():
    fd = os.open(file, os.O_RDWR)
    mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)[:4] = b"map!"

def map_shared_read_only():
    fd = os.open(file, os.O_RDONLY)
    try:
        mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    finally:
        os.close(fd)

def reopen():
    fd = os.open(file, os.O_RDONLY)
    write(f"/proc/self/fd/{fd}")

def reopen_path():
    fd = os.open(file, os.O_PATH)
    write(f"/proc/self/fd/{fd}")

def relative():
    fd = os.open(directory, os.O_RDONLY)
    os.close(os.open("of-the-app", os.O_RDWR, dir_fd=fd))

print(json.dumps({
    "write": attempt(write, file),
    "append": attempt(write, file, os.O_WRONLY | os.O_APPEND),
    "through the root link": attempt(write, "/proc/self/root" + file),
    "through the directory link": (os.chdir(directory), attempt(write, "/proc/self/cwd/of-the-app"))[1],
    "a descriptor opened again": attempt(reopen),
    "a path descriptor opened again": attempt(reopen_path),
    "relative to a directory": attempt(relative),
    "shared map": attempt(map_shared),
    "shared map of a read-only descriptor": attempt(map_shared_read_only),
    "truncate": attempt(os.truncate, file, 0),
    "change the mode": attempt(os.chmod, file, 0o777),
    "change the time": attempt(os.utime, file, (1, 1)),
    "an attribute": attempt(os.setxattr, file, "user.x", b"y"),
    "rename": attempt(os.rename, file, file + "2"),
    "hard link": attempt(os.link, file, file + "3"),
    "new file": attempt(write, directory + "/new", os.O_CREAT | os.O_WRONLY),
    "new directory": attempt(os.mkdir, directory + "/new-directory"),
    "remove": attempt(os.unlink, file + "2" if os.path.exists(file + "2") else file),
}))
"""


@pytest.fixture(scope="module")
def inside(shared_sandbox: Sandbox) -> Any:
    shared_sandbox.image = VOLUMES
    return shared_sandbox.python(SEEN, " ".join(OPENED_FOR_WRITING), " ".join(MASKED)).json()


@pytest.fixture(scope="module")
def outside() -> Any:
    return unconfined_python(SEEN, " ".join(OPENED_FOR_WRITING), " ".join(MASKED)).json()


@pytest.fixture(scope="module")
def mounts(inside: Any) -> dict[str, tuple[set[str], list[str], str]]:
    """Options, propagation and kind of file system by mount point."""
    found = {}
    for line in inside["mounts"].splitlines():
        own, _, rest = line.partition(" - ")
        parts = own.split(" ")
        found[parts[4]] = (set(parts[5].split(",")), parts[6:], rest.split(" ")[0])
    return found


Mounts = dict[str, tuple[set[str], list[str], str]]


def test_no_mount_is_shared_with_or_fed_by_the_host(mounts: Mounts) -> None:
    assert {at: propagation for at, (_, propagation, _) in mounts.items() if propagation} == {}


def test_every_mount_ignores_setuid_bits(mounts: Mounts) -> None:
    assert [at for at, (options, _, _) in mounts.items() if "nosuid" not in options] == []


def test_device_nodes_work_in_dev_alone(mounts: Mounts) -> None:
    assert {at for at, (options, _, _) in mounts.items() if "nodev" not in options} == {"/dev", "/dev/pts"}


def test_what_can_be_written_is_volumes_and_temporary_directories(mounts: Mounts) -> None:
    assert {at for at, (options, _, _) in mounts.items() if "ro" not in options} == WRITABLE


def test_nothing_that_holds_devices_or_processes_can_be_executed(mounts: Mounts) -> None:
    assert all("noexec" in mounts[at][0] for at in ("/proc", "/dev", "/dev/pts", "/dev/shm", "/run/user/1000"))


def test_of_the_hosts_kernel_file_systems_none_is_there(mounts: Mounts) -> None:
    kinds = {kind for _, _, kind in mounts.values()}
    assert (
        kinds & {"sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "bpf", "devtmpfs", "mqueue"} == set()
    )


def test_sys_is_empty(inside: Any, outside: Any) -> None:
    assert inside["sys"] == []
    assert outside["sys"] != []


def test_of_processes_only_init_and_itself_are_seen(inside: Any) -> None:
    assert len(inside["processes"]) == 2
    assert inside["processes"][0] == 1
    with subprocess.Popen(["sleep", "60"]) as other:  # there is one more to see outside, in any case
        assert len([name for name in os.listdir("/proc") if name.isdigit()]) > 2
        other.kill()


def test_the_cgroup_is_the_top_of_what_it_sees(inside: Any) -> None:
    """Hierarchies of version 1 have no namespace for what init was in before; there is no file system of any."""
    v2 = [line for line in inside["cgroup"].splitlines() if line.startswith("0:")]
    assert v2 in ([], ["0::/"])
    assert ".." not in inside["cgroup"]


@pytest.mark.parametrize("path", OPENED_FOR_WRITING)
def test_nothing_of_the_kernel_can_be_opened_for_writing(inside: Any, outside: Any, path: str) -> None:
    if outside["open"][path] in ("ENOENT", "ENXIO", "ENODEV"):
        assert inside["open"][path] != "done"
        pytest.skip("inconclusive: this kernel has no such file")
    assert_refused(inside["open"][path], outside["open"][path], "EROFS", "EACCES", "EPERM", "ENOENT", "EOPNOTSUPP")


@pytest.mark.parametrize("path", MASKED)
def test_what_tells_of_the_host_is_hidden(inside: Any, outside: Any, path: str) -> None:
    assert inside["masked"].get(path) in (None, "", []), path
    if outside["masked"].get(path) in (None, "", []):
        pytest.skip("inconclusive: this kernel has nothing there")


def test_dev_has_the_devices_of_the_list_and_no_others(inside: Any) -> None:
    devices = {name: rdev for name, (mode, rdev) in inside["dev"].items() if stat.S_ISCHR(mode) or stat.S_ISBLK(mode)}
    assert devices == {name: os.makedev(*numbers) for name, numbers in DEVICES.items()}
    assert all(
        stat.S_IMODE(inside["dev"][name][0]) == 0o666 and stat.S_ISCHR(inside["dev"][name][0]) for name in DEVICES
    )
    assert inside["links"] == LINKS
    assert {*inside["dev"]} == {*DEVICES, *LINKS, "pts", "shm"}
    assert inside["pts"] == {"ptmx": os.makedev(5, 2)}


@pytest.fixture(scope="module")
def changes(shared_sandbox: Sandbox, inside: Any) -> tuple[Any, Any]:
    return shared_sandbox.python(CHANGES).json(), unconfined_python(PRIVATE_TMP + CHANGES).json()


PRIVATE_TMP = """
import ctypes
ctypes.CDLL(None).mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None)
"""
CHANGE_NAMES = [line.split('"')[1] for line in CHANGES.splitlines() if line.startswith('    "')]


@pytest.mark.parametrize("name", CHANGE_NAMES)
def test_mounts_and_devices_can_not_be_made_or_changed(changes: tuple[Any, Any], name: str) -> None:
    inside, control = changes
    assert_refused(inside[name], control[name], "EPERM", "EACCES")


def test_dev_can_be_used_but_not_changed(shared_sandbox: Sandbox, inside: Any) -> None:
    done = shared_sandbox.python(IN_DEV).json()
    assert done == {
        "make a file": "EROFS",
        "remove a device": "EROFS",
        "rename a device": "EROFS",
        "write to null": "done",
        "open a terminal": "done",
    }


WRITE_NAMES = [line.split('"')[1] for line in WRITES.splitlines() if line.startswith('    "')]


def with_writable_mode(top: Path) -> None:
    """Nothing but the mount may protect it: the app owns it."""
    (top / "etc/of-the-app").write_bytes(b"a file of the image\n" * 300)
    for path in (top / "etc", top / "etc/of-the-app"):
        os.chown(path, FOREIGN_BASE + 1000, FOREIGN_BASE + 1000)
        path.chmod(0o777)


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """What came of each way to write to the image, inside, and on a copy without the sandbox; the tree stays."""
    sandbox = Sandbox.below(tmp_path_factory.mktemp("writes"))
    with_writable_mode(sandbox.tree)
    before = snapshot(sandbox.tree)
    inside = sandbox.python(WRITES, "").json()
    assert snapshot(sandbox.tree) == before, "the image on the disk was changed"
    with_writable_mode(Sandbox.below(copy := tmp_path_factory.mktemp("copy")).tree)
    return inside, unconfined_python(WRITES, str(copy / "tree")).json()


@pytest.mark.parametrize("name", WRITE_NAMES)
def test_the_image_can_not_be_written(writes: tuple[Any, Any], name: str) -> None:
    inside, control = writes
    assert_refused(inside[name], control[name], "EROFS", "EACCES")


def test_a_writable_root_is_private_and_gone_at_exit(sandbox: Sandbox) -> None:
    sandbox.image = "writable-root: true\n"
    with_writable_mode(sandbox.tree)
    before = snapshot(sandbox.tree)
    done = sandbox.python("print(json.dumps([attempt(write, '/etc/of-the-app'), read('/etc/of-the-app')[:8]]))")
    assert done.json() == ["done", "written\n"]
    assert sandbox.python("print(json.dumps(read('/etc/of-the-app')[:8]))").json() == "a file o"
    assert snapshot(sandbox.tree) == before


def test_a_path_that_is_masked_stays_masked_under_its_other_names(sandbox: Sandbox) -> None:
    seen = sandbox.python(
        """
        os.chdir("/proc")
        names = ["keys", "self/root/proc/keys", "thread-self/root/proc/keys", "self/cwd/keys", "1/../keys"]
        print(json.dumps([read("/proc/" + name) for name in names]))
        """
    ).json()
    assert seen == [""] * 5


def test_without_its_mask_a_file_would_be_seen(sandbox: Sandbox) -> None:
    """The control of the masks: it is they who hide, and nothing else."""
    sandbox.change = without_masks
    assert sandbox.python("print(json.dumps(read('/proc/devices')))").json() != ""


def without_masks(plan: LaunchPlan) -> LaunchPlan:
    return replace(plan, mounts=tuple(mount for mount in plan.mounts if mount.kind is not MountKind.MASK))
