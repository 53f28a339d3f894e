# SPDX-License-Identifier: AGPL-3.0-or-later
"""A directory of the owner: which, whose, where, and with what rights."""

from __future__ import annotations

from itertools import combinations

import pytest

from ftos.errors import BadInput, FtosError, Unsupported
from ftos.plan.records import ACCESS_READ, ACCESS_WRITE, Access, Directives, IdMap, Mount, MountFlag, MountKind
from ftos.services.interface import Binder
from ftos.services.user_dir import INTERFACE, WRITING
from ftos.spec.records import Binding, Request, Right, Scalar, Service

OWNER = (1001, 1002, "/home/alex")
ALL: tuple[Right, ...] = ("list", "read", "write", "create", "delete", "mkdir", "rmdir")


def service(name: str, **settings: Scalar) -> Service:
    return Service(kind="service", schema=1, name=name, interface="user-dir", provider="directory", settings=settings)


def resolve(
    chosen: Service | None,
    binding: Binding | None = None,
    request: Request | None = None,
    owner: tuple[int, int, str] | None = OWNER,
    others: tuple[Service, ...] = (),
) -> Directives:
    """`chosen` bound to the request `papers`; None is the reserved instance `empty`."""
    services = {each.name: each for each in (*others, *([chosen] if chosen else []))}
    binder = Binder(
        where="notes: os-services.papers",
        name="papers",
        request=request or Request(reason="x"),
        binding=binding or Binding(instance="papers"),
        services=services,
        owner=owner,
    )
    return INTERFACE.providers["directory"].resolve(binder, chosen) if chosen else INTERFACE.empty(binder)


def mount_of(directives: Directives) -> Mount:
    (mount,) = directives.mounts
    return mount


def access_of(directives: Directives) -> Access:
    (rule,) = directives.landlock
    return rule.access


def granted(*rights: Right) -> Binding:
    return Binding(instance="papers", rights=rights)


PAPERS = service("papers", path="/srv/papers")
HOME = service("papers", path="~/Papers")


def test_without_rights_it_can_be_listed_and_read() -> None:
    directives = resolve(PAPERS)
    assert access_of(directives) == ACCESS_READ
    assert mount_of(directives).flags == MountFlag.READ_ONLY | MountFlag.NO_EXEC


def test_what_the_image_asks_for_grants_nothing() -> None:
    asks = Request(reason="x", rights=ALL)
    assert access_of(resolve(PAPERS, request=asks)) == ACCESS_READ
    assert access_of(resolve(PAPERS, granted("list", "read", "mkdir"), asks)) == ACCESS_READ | Access.MAKE_DIR


@pytest.mark.parametrize("count", range(1, 6))
def test_each_set_of_writing_rights_gives_just_those(count: int) -> None:
    for chosen in combinations(WRITING, count):
        directives = resolve(PAPERS, granted("list", "read", *chosen))
        expected = ACCESS_READ
        for right in chosen:
            expected |= WRITING[right]
        if {"create", "delete"} <= set(chosen):
            expected |= Access.REFER  # moving between directories
        assert access_of(directives) == expected
        assert mount_of(directives).flags == MountFlag.NO_EXEC


def test_all_rights_are_all_that_a_writable_place_has() -> None:
    assert access_of(resolve(PAPERS, granted(*ALL))) == ACCESS_WRITE


def test_devices_and_programs_are_in_no_right() -> None:
    assert not access_of(resolve(PAPERS, granted(*ALL))) & (Access.MAKE_CHAR | Access.MAKE_BLOCK | Access.EXECUTE)


def test_rights_are_named_in_the_purpose() -> None:
    words = [
        mount_of(resolve(PAPERS, binding)).purpose
        for binding in (granted("list", "read"), granted(*ALL), granted("list", "read", "mkdir"))
    ]
    assert words == [
        "papers: read (instance papers)",
        "papers: read and write (instance papers)",
        "papers: list, read, mkdir (instance papers)",
    ]


def test_only_the_owners_ids_are_mapped_to_the_apps() -> None:
    assert resolve(PAPERS).idmaps == (IdMap(uid=1001, gid=1002, outside=1000, count=1),)
    own = service("papers", path="/srv/papers", uid=33, gid=34)
    assert resolve(own, owner=None).idmaps == (IdMap(uid=33, gid=34, outside=1000, count=1),)
    half = service("papers", path="/srv/papers", gid=34)
    assert resolve(half).idmaps == (IdMap(uid=1001, gid=34, outside=1000, count=1),)


@pytest.mark.parametrize(
    ("binding", "asked", "target"),
    [("/media/a", "/media/b", "/media/a"), (None, "/media/b", "/media/b"), (None, None, "/home/app/Papers")],
)
def test_the_place_is_the_bindings_else_the_images_else_in_the_home(
    binding: str | None, asked: str | None, target: str
) -> None:
    request = Request(reason="x", path=asked)
    for chosen in (PAPERS, None):
        directives = resolve(chosen, Binding(instance="papers", path=binding), request)
        assert mount_of(directives).target == target
        assert directives.landlock[0].path == target
        assert [(entry.path, entry.kind) for entry in directives.layer] == [(target, "directory")]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/srv/papers", "/srv/papers"),
        ("/srv/papers/", "/srv/papers"),
        ("//srv//papers", "/srv/papers"),
        ("~/Papers", "/home/alex/Papers"),
        ("~//etc", "/home/alex/etc"),
        ("~/", "/home/alex"),
        ('/srv/a "b": c,\\d/ü', '/srv/a "b": c,\\d/ü'),
    ],
)
def test_the_source_is_a_plain_path(path: str, source: str) -> None:
    assert (mount_of(resolve(service("papers", path=path))).source) == source


def test_behind_the_outermost_instance_no_symlink_is_followed() -> None:
    """An app that may write to the outer one could have made it."""
    others = (service("all", path="~/"), service("docs", path="~/Docs"), service("beside", path="~/Docs/ab"))
    mount = mount_of(resolve(service("papers", path="~/Docs/a/b"), others=others))
    assert (mount.source, mount.beneath) == ("/home/alex", "Docs/a/b")
    alone = mount_of(resolve(service("papers", path="~/Docs"), others=(service("beside", path="~/Do"),)))
    assert (alone.source, alone.beneath) == ("/home/alex/Docs", "")


def test_instances_in_an_unknown_home_do_not_hinder_others() -> None:
    own = service("papers", path="/srv/papers", uid=33, gid=34)
    assert mount_of(resolve(own, owner=None, others=(service("docs", path="~/Docs"),))).source == "/srv/papers"


def test_empty_is_a_private_directory_with_the_rights_that_were_granted() -> None:
    reading, writing = resolve(None), resolve(None, granted(*ALL))
    for directives in (reading, writing):
        assert mount_of(directives).kind is MountKind.TMPFS
        assert mount_of(directives).source == ""
        assert mount_of(directives).size > 0
    assert mount_of(reading).flags & MountFlag.READ_ONLY
    assert not mount_of(writing).flags & MountFlag.READ_ONLY
    assert access_of(writing) == ACCESS_WRITE
    assert "changes are gone at exit" in mount_of(writing).purpose


DUMMY = "grant list and read, or bind to empty"
BOTH = "notes: os-services.papers: a directory can't be shown without both list and read"
WHOSE = "notes: os-services.papers: whose directory 'papers' is, is not known"
PATH = "service 'papers': settings.path must be absolute or begin with ~/, without .."
PERSON = "only files of a person can be shown, not of the system"
REFUSED: list[tuple[type[FtosError], str, str, Service, Binding, bool]] = [
    (
        Unsupported,
        "notes: os-services.papers: this ftos has no dummy-write yet",
        DUMMY,
        PAPERS,
        granted("list", "read", "dummy-write"),
        True,
    ),
    *(
        (Unsupported, BOTH, "grant both, or bind to none", PAPERS, binding, True)
        for binding in (granted("list"), granted("read"), granted("write"), granted())
    ),
    (
        BadInput,
        WHOSE,
        "name the owner's account in host.yml (owner: NAME), or uid and gid in the service's settings",
        PAPERS,
        granted("list", "read"),
        False,
    ),
    *(
        (
            BadInput,
            f"notes: os-services.papers: uid {uid}, gid {gid}: {PERSON}",
            "",
            service("papers", path="/srv", uid=uid, gid=gid),
            granted("list", "read"),
            True,
        )
        for uid, gid in ((0, 1000), (1000, 0), (65534, 1000), (1000, 65534), (-1, 1000), (1000, 4294967295))
    ),
    *(
        (BadInput, PATH, "", service("papers", path=path), granted("list", "read"), True)
        for path in ("papers", "", "~", "~alex/papers", "/srv/../etc", "~/../root", "/..")
    ),
    (
        BadInput,
        "notes: os-services.papers: whose home ~/Papers is in, is not known",
        "name the owner's account in host.yml: owner: NAME",
        service("papers", path="~/Papers", uid=33, gid=34),
        granted("list", "read"),
        False,
    ),
]


@pytest.mark.parametrize(("kind", "message", "hint", "chosen", "binding", "owned"), REFUSED)
def test_what_can_not_be_shown_is_refused(
    kind: type[FtosError], message: str, hint: str, chosen: Service, binding: Binding, owned: bool
) -> None:
    with pytest.raises(kind) as caught:
        resolve(chosen, binding, owner=OWNER if owned else None)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize("binding", [granted("list"), granted("list", "read", "dummy-write")])
def test_empty_does_not_pretend_rights_either(binding: Binding) -> None:
    with pytest.raises(Unsupported):
        resolve(None, binding)
