# SPDX-License-Identifier: AGPL-3.0-or-later
"""The typed records behind the descriptors: one frozen class a kind.

Keys in YAML are the field names with `-` for `_`. The types carry all that can be said about one value by itself
(pattern, range, choice); what concerns several values is in `ftos.spec.checks`. Records are made by
`ftos.spec.load` only, which reports every error of a file at once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

_UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
"""Control characters of ASCII and Latin-1 (a terminal obeys those too) and Unicode's line separators."""

Name = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z",
        description="lower case letters, digits and '-', at most 63",
    ),
]
OsbaseName = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z0-9][a-z0-9-]{0,30}/[a-z0-9][a-z0-9.-]{0,30}\Z",
        description="DISTRO/RELEASE, as in debian/trixie",
    ),
]
PackageName = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9][A-Za-z0-9+._-]{0,127}\Z",
        description="a package name of the distro, without version",
    ),
]
AbsolutePath = Annotated[
    str, Meta(pattern=rf"\A/[^{_UNPRINTABLE}]*\Z", max_length=4095, description="an absolute path without '..'")
]
FileMode = Annotated[str, Meta(pattern=r"\A0[0-7]{3}\Z", description='octal permission bits in quotes, as "0644"')]
Size = Annotated[str, Meta(pattern=r"\A[1-9][0-9]{0,11}[KMGT]?\Z", description="bytes, base 1024: 700M")]
Duration = Annotated[str, Meta(pattern=r"\A[1-9][0-9]{0,8}[smhd]\Z", description="30s, 15m, 8h or 14d")]
EnvironmentName = Annotated[
    str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,127}\Z", description="letters, digits and '_'")
]
Text = Annotated[
    str,
    Meta(
        pattern=r"\A[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]*\Z",
        max_length=65536,
        description="text without control characters",
    ),
]
Line = Annotated[str, Meta(pattern=rf"\A[^{_UNPRINTABLE}]*\Z", max_length=1024, description="one line of text")]
Url = Annotated[
    str, Meta(pattern=r"\A(https?|file)://[^\s\x00-\x1f]+\Z", description="https://…, http://… or file:///…")
]
Argument = Annotated[str, Meta(pattern=r"\A[^\x00]*\Z", max_length=65536, description="text without NUL")]
Command = Annotated[tuple[Argument, ...], Meta(min_length=1)]
Scalar = bool | int | float | Line
DeploymentId = Annotated[
    str, Meta(pattern=r"\Ad-[0-9a-f]{8}\Z", description="d- and eight hex digits; given by `ftos deploy`")
]
AccountName = Annotated[str, Meta(pattern=r"\A[a-z_][a-z0-9_-]{0,30}\$?\Z", description="a login name of this device")]

Right = Literal["list", "read", "write", "create", "delete", "mkdir", "rmdir", "dummy-write"]
VolumeClass = Literal["data", "settings", "cache", "temp", "discard"]


class Record(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Base of all records: immutable, by keyword, kebab-case keys, no unknown keys."""


# --- osbase ---------------------------------------------------------------------------------------------------------


class Source(Record, frozen=True, kw_only=True):
    """One suite of a package source. `mirror` is a role (`debian`, `debian-security`) which the host maps to an URL."""

    mirror: Name
    suite: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9./-]{0,62}\Z")]
    components: Annotated[tuple[Name, ...], Meta(min_length=1)]


class Choice(Record, frozen=True, kw_only=True):
    """What an os-component means where a host fact has one value."""

    packages: tuple[PackageName, ...] = ()
    depends: tuple[Name, ...] = ()
    commands: tuple[Command, ...] = ()
    environment: dict[EnvironmentName, Line] = {}


class OsComponent(Record, frozen=True, kw_only=True):
    """An optional part of an osbase, by what it is for, and what it means here.

    What `select` yields is looked up in `choice`, else `default` is taken; it adds to what the component has anyway.
    `commands` run in the build container after the installation, without network; `${host.x}` is filled in.
    """

    title: Line
    packages: tuple[PackageName, ...] = ()
    depends: tuple[Name, ...] = ()
    commands: tuple[Command, ...] = ()
    environment: dict[EnvironmentName, Line] = {}
    select: Annotated[str, Meta(pattern=r"\A\$\{host\.[a-z]+\}\Z", description="a host fact: ${host.gpu}")] | None = (
        None
    )
    choice: dict[Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}\Z")], Choice] = {}
    default: Choice | None = None


class Osbase(Record, frozen=True, kw_only=True):
    kind: Literal["osbase"]
    schema: Literal[1]
    name: OsbaseName
    title: Line
    status: Literal["supported", "deprecated", "retired"]
    successor: OsbaseName | None = None
    engine: Literal["apt", "apk"]
    sources: Annotated[tuple[Source, ...], Meta(min_length=1)]
    keys: Annotated[
        tuple[Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9+.@_-]{0,127}\Z")], ...], Meta(min_length=1)
    ]
    base_packages: tuple[PackageName, ...] = ()
    os_components: dict[Name, OsComponent] = {}
    environment: dict[EnvironmentName, Line] = {}
    post_clean: tuple[AbsolutePath, ...] = ()


# --- image ----------------------------------------------------------------------------------------------------------


class Repository(Record, frozen=True, kw_only=True):
    """An extra package source of an image, with the file that holds its key (beside the descriptor)."""

    url: Url
    suite: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._/-]{0,62}\Z")]
    components: tuple[Name, ...] = ()
    key: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9+.@_-]{0,127}\Z")]


class Setting(Record, frozen=True, kw_only=True):
    """What a deployment may set; its value is rendered into `files` as ${settings.NAME}."""

    default: Scalar
    choices: tuple[Scalar, ...] = ()
    title: Line = ""


class File(Record, frozen=True, kw_only=True):
    path: AbsolutePath
    content: Text
    mode: FileMode = "0644"


class Link(Record, frozen=True, kw_only=True):
    path: AbsolutePath
    target: Annotated[
        str, Meta(pattern=rf"\A[^{_UNPRINTABLE}]+\Z", max_length=4095, description="a path, absolute or relative")
    ]


class Request(Record, frozen=True, kw_only=True):
    """What an image asks for. A request grants nothing. `interface` defaults to the key."""

    interface: Name | None = None
    required: bool = False
    reason: Line
    rights: tuple[Right, ...] = ()
    path: AbsolutePath | None = None


class Volume(Record, frozen=True, kw_only=True):
    name: Name
    volume_class: VolumeClass = field(name="class")
    path: AbsolutePath
    quota: Size | None = None
    ttl: Duration | None = None


class Handlers(Record, frozen=True, kw_only=True):
    mime_types: tuple[Annotated[str, Meta(pattern=r"\A[a-z0-9.+-]+/[a-z0-9.+*-]+\Z")], ...] = ()
    url_schemes: tuple[Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9+.-]*\Z")], ...] = ()


class Image(Record, frozen=True, kw_only=True):
    kind: Literal["image"]
    schema: Literal[1]
    name: Name
    title: Line
    version: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9.+~-]{0,62}\Z")]
    osbase: OsbaseName
    os_components: tuple[Name, ...] = ()
    packages: tuple[PackageName, ...] = ()
    repositories: tuple[Repository, ...] = ()
    post_clean: tuple[AbsolutePath, ...] = ()
    environment: dict[EnvironmentName, Line] = {}
    settings: dict[Name, Setting] = {}
    files: tuple[File, ...] = ()
    links: tuple[Link, ...] = ()
    command: Command
    working_directory: AbsolutePath = "/home/app"
    writable_root: bool = False
    os_services: dict[Name, Request] = {}
    volumes: tuple[Volume, ...] = ()
    handlers: Handlers | None = None


# --- host -----------------------------------------------------------------------------------------------------------


class Tool(Record, frozen=True, kw_only=True):
    """A package manager for a host that has none of its own: an archive with a system (or the program) that has it."""

    archive: AbsolutePath
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z", description="64 hex digits")]


class Remote(Record, frozen=True, kw_only=True):
    """A store elsewhere from which images are pulled instead of built, where it has the same recipe."""

    url: Url
    key: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9+._-]{0,127}\Z")]


class Keeping(Record, frozen=True, kw_only=True):
    """When images are purged by themselves."""

    purge_after: Duration | None = None
    keep_free: Size | None = None


class Host(Record, frozen=True, kw_only=True):
    """The owner's words about this device; each overrides what is found out about it."""

    kind: Literal["host"]
    schema: Literal[1]
    owner: AccountName | None = None
    architecture: Annotated[str, Meta(pattern=r"\A[a-z0-9_]{1,31}\Z", description="as `uname -m` has it")] | None = None
    mirrors: dict[Name, Url] = {}
    tools: dict[Annotated[str, Meta(pattern=r"\Aapk\Z", description="apk")], Tool] = {}
    remotes: dict[Name, Remote] = {}
    images: Keeping = Keeping()
    gpu: Name | None = None
    locale: Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_.@-]{0,62}\Z")] | None = None
    timezone: Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_+/-]{0,62}\Z")] | None = None


# --- service --------------------------------------------------------------------------------------------------------


class Service(Record, frozen=True, kw_only=True):
    """A service instance: a named, configured provider of an interface."""

    kind: Literal["service"]
    schema: Literal[1]
    name: Name
    interface: Name
    provider: Name
    title: Line = ""
    settings: dict[Name, Scalar] = {}


# --- deployment -----------------------------------------------------------------------------------------------------


class Destination(Record, frozen=True, kw_only=True):
    domain: Annotated[str, Meta(pattern=r"\A(\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")] | None = None
    cidr: Annotated[str, Meta(pattern=r"\A[0-9a-f.:]+(/[0-9]{1,3})?\Z")] | None = None


class EgressRule(Record, frozen=True, kw_only=True):
    to: Destination
    ports: tuple[Annotated[str, Meta(pattern=r"\A[0-9]{1,5}(-[0-9]{1,5})?/(tcp|udp)\Z")], ...] = ()
    action: Literal["allow", "deny"] = "allow"
    locked: bool = False


class Binding(Record, frozen=True, kw_only=True):
    """Ties a request of the image (by its key) to a service instance. The only thing that grants."""

    instance: Name
    rights: tuple[Right, ...] | None = None
    path: AbsolutePath | None = None
    scope: dict[Name, Scalar] = {}
    default: Literal["allow", "deny"] | None = None
    enforcement: Literal["enforce", "audit"] | None = None
    egress: tuple[EgressRule, ...] = ()


class DeploymentVolume(Record, frozen=True, kw_only=True):
    name: Name
    backup: bool = True
    quota: Size | None = None


class Limits(Record, frozen=True, kw_only=True):
    memory: Size | None = None
    pids: Annotated[int, Meta(ge=8, le=4194304)] | None = None
    cpu_weight: Annotated[int, Meta(ge=1, le=10000)] | None = None


class Deployment(Record, frozen=True, kw_only=True):
    kind: Literal["deployment"]
    schema: Literal[1]
    name: Name
    id: DeploymentId
    image: Name
    settings: dict[Name, Scalar] = {}
    os_services: dict[Name, Binding] = {}
    volumes: tuple[DeploymentVolume, ...] = ()
    limits: Limits = Limits()
    autostart: bool = False


Descriptor = Osbase | Image | Host | Service | Deployment
KINDS: dict[str, type[Descriptor]] = {
    "osbase": Osbase,
    "image": Image,
    "host": Host,
    "service": Service,
    "deployment": Deployment,
}


def size_bytes(size: str) -> int:
    """`700M` → bytes. The text has passed `Size`."""
    unit = {"K": 10, "M": 20, "G": 30, "T": 40}.get(size[-1])
    return int(size) if unit is None else int(size[:-1]) << unit


def duration_seconds(duration: str) -> int:
    """`14d` → seconds. The text has passed `Duration`."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[duration[-1]]
