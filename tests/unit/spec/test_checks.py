# SPDX-License-Identifier: AGPL-3.0-or-later
"""What several values of one descriptor must be to each other: every finding, and what is right beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftos.spec.load import DescriptorErrors, load_text

SERVICE = "kind: service\nschema: 1\nname: {name}\ninterface: location\nprovider: fixed\n"
IMAGE = "kind: image\nschema: 1\nname: a\ntitle: A\nversion: '1'\nosbase: debian/trixie\n"
DEPLOYMENT = "kind: deployment\nschema: 1\nname: a\nid: d-00000000\nimage: a\n"
OSBASE = (
    "kind: osbase\nschema: 1\nname: d/t\ntitle: D\nstatus: supported\nengine: apt\n"
    "sources: [{mirror: d, suite: t, components: [main]}]\n"
)


def findings(text: str) -> list[str]:
    try:
        load_text(text, Path("x.yml"))
    except DescriptorErrors as caught:
        return [str(error).partition(": ")[2] for error in caught.errors]
    return []


def osbase(text: str) -> str:
    return OSBASE + ("" if "keys:" in text else "keys: [k]\n") + text


def component(text: str) -> str:
    """An osbase with the component `a`, and one without anything: `b`."""
    return osbase(f"os-components:\n  b: {{title: B}}\n  a: {{title: A, {text}}}\n")


def image(text: str) -> str:
    return IMAGE + ("" if "command:" in text else "command: [a]\n") + text


def files(content: str) -> str:
    return image("settings: {theme: {default: a}}\n" + f'files: [{{path: /a, content: "{content}"}}]\n')


def volumes(*paths: str) -> str:
    entries = ", ".join(f"{{name: v{n}, class: data, path: {path}}}" for n, path in enumerate(paths))
    return image(f"volumes: [{entries}]\n")


def rights(text: str) -> str:
    return image(f"os-services: {{d: {{reason: r, rights: [{text}]}}}}\n")


def rule(text: str) -> str:
    return DEPLOYMENT + f"os-services: {{network: {{instance: i, egress: [{{{text}}}]}}}}\n"


EGRESS = "os-services.network.egress[0]"
HOST = "host.architecture, host.gpu, host.language, host.locale, host.timezone"
KNOWN = f"known: settings.NAME, deployment.name, {HOST}; $${{ is a literal ${{"
REFUSED: list[tuple[str, list[str]]] = [
    # osbase
    (osbase("successor: d/t\n"), ["successor: an osbase can't be its own successor"]),
    (osbase("keys: [a, b, a]\n"), ["keys[2]: 'a' is there twice"]),
    (osbase("base-packages: [a, a]\n"), ["base-packages[1]: 'a' is there twice"]),
    (osbase("post-clean: [/, /usr/share/doc]\n"), ["post-clean[0]: '/' can't be removed from an image"]),
    (
        osbase("os-components: {fonts: {title: F, packages: [a, a]}}\n"),
        ["os-components.fonts.packages[1]: 'a' is there twice"],
    ),
    (
        osbase("os-components: {fonts: {title: F}, gl: {title: G, depends: [font]}}\n"),
        ["os-components.gl.depends[0]: there is no os-component 'font' (did you mean `fonts`?)"],
    ),
    (
        osbase(
            "os-components: {a: {title: A, depends: [b]}, b: {title: B, depends: [a]}, c: {title: C, depends: [a]}}\n"
        ),
        [
            "os-components.a.depends: the os-component 'a' depends on itself",
            "os-components.b.depends: the os-component 'b' depends on itself",
        ],
    ),
    # image
    (
        osbase(
            "os-components:\n  a: {title: A, select: '${host.gpu}', choice: {x: {depends: [b]}, y: {}}}\n"
            "  b: {title: B, select: '${host.gpu}', choice: {x: {}}, default: {depends: [a]}}\n"
        ),
        [
            "os-components.a.choice.x.depends: the os-component 'a' depends on itself",
            "os-components.b.default.depends: the os-component 'b' depends on itself",
        ],
    ),
    (
        component("select: '${host.cpu}', choice: {x: {}}"),
        ["os-components.a.select: there is no host fact 'cpu' (did you mean `gpu`?)"],
    ),
    (
        component("select: '${host.name}', choice: {x: {}}"),
        ["os-components.a.select: there is no host fact 'name' (known: architecture, gpu, language, locale, timezone)"],
    ),
    (
        component("choice: {x: {}}, default: {}"),
        [
            "os-components.a.choice: there is a `choice`, but no `select` (as  select: ${host.gpu})",
            "os-components.a.default: there is a `default`, but no `select` (as  select: ${host.gpu})",
        ],
    ),
    (
        component("select: '${host.gpu}', default: {}"),
        ["os-components.a.select: there is a `select`, but no `choice`"],
    ),
    (
        component("select: '${host.gpu}', choice: {x: {depends: [c], packages: [p, p]}}"),
        [
            "os-components.a.choice.x.packages[1]: 'p' is there twice",
            "os-components.a.choice.x.depends[0]: there is no os-component 'c'",
        ],
    ),
    (
        component("commands: [['', a], [b, '${host.gpus}', '${settings.x}', '${host.gpu']]"),
        [
            "os-components.a.commands[0][0]: the program's name is empty",
            "os-components.a.commands[1][1]: '${host.gpus}' is not known (did you mean `host.gpu`?)",
            f"os-components.a.commands[1][2]: '${{settings.x}}' is not known (known: {HOST}; $${{ is a literal ${{)",
            "os-components.a.commands[1][3]: a '${' is not closed (write $${ for a literal ${)",
        ],
    ),
    (
        component("environment: {X: '${deployment.name}'}"),
        [f"os-components.a.environment.X: '${{deployment.name}}' is not known (known: {HOST}; $${{ is a literal ${{)"],
    ),
    (image("os-components: [a, b, a]\n"), ["os-components[2]: 'a' is there twice"]),
    (image("packages: [a, a, a]\n"), ["packages[1]: 'a' is there twice", "packages[2]: 'a' is there twice"]),
    (image("post-clean: [/a, /a/]\n"), ["post-clean[1]: '/a' is there twice"]),
    (image("post-clean: [/proc/sys]\n"), ["post-clean[0]: '/proc/sys' can't be removed from an image"]),
    (image("command: ['', x]\n"), ["command[0]: the program's name is empty"]),
    (
        image("settings: {t: {default: a, choices: [b, c]}}\n"),
        ["settings.t.default: the default 'a' is not among the choices (one of: 'b', 'c')"],
    ),
    (
        image("settings: {t: {default: true, choices: [1, 0]}}\n"),
        ["settings.t.default: the default 'True' is not among the choices (one of: '1', '0')"],
    ),
    (
        image("settings: {t: {default: a, choices: [a, 1, true]}}\n"),
        [
            "settings.t.choices[1]: choices must be of one type: this is a number, the first text",
            "settings.t.choices[2]: choices must be of one type: this is true or false, the first text",
        ],
    ),
    (
        files("${settings.them}"),
        ["files[0].content: there is no setting 'them' (did you mean `theme`?)"],
    ),
    (files("${settings.zzz}"), ["files[0].content: there is no setting 'zzz' (add it to `settings`)"]),
    (files("${host.locales}"), ["files[0].content: '${host.locales}' is not known (did you mean `host.locale`?)"]),
    (files("${HOME}"), [f"files[0].content: '${{HOME}}' is not known ({KNOWN})"]),
    (files("${}"), [f"files[0].content: '${{}}' is not known ({KNOWN})"]),
    (files("${settings.theme"), ["files[0].content: a '${' is not closed (write $${ for a literal ${)"]),
    (
        image("files: [{path: /a, content: x}]\nlinks: [{path: /a, target: b}]\n"),
        ["links[0].path: '/a' is there twice among files and links"],
    ),
    (
        image("files: [{path: /a/b/c, content: x}]\nlinks: [{path: /a, target: b}]\n"),
        ["files[0].path: '/a/b/c' lies below '/a', which is no directory"],
    ),
    (
        image("files: [{path: /sys/a, content: x}]\nlinks: [{path: /dev, target: b}, {path: /proc/x, target: b}]\n"),
        [
            "files[0].path: nothing can be put below /sys (the kernel shows itself there)",
            "links[0].path: nothing can be put below /dev (the kernel shows itself there)",
            "links[1].path: nothing can be put below /proc (the kernel shows itself there)",
        ],
    ),
    (
        image("files: [{path: /, content: x}, {path: /a/, content: x}]\n"),
        ["files[0].path: '/' names a directory", "files[1].path: '/a/' names a directory"],
    ),
    (
        image("volumes: [{name: a, class: data, path: /a}, {name: a, class: data, path: /a/}]\n"),
        ["volumes[1].name: the name 'a' is there twice", "volumes[1].path: the path '/a' is there twice"],
    ),
    *(
        (
            volumes(path),
            [f"volumes[0].path: nothing can be mounted at or below {top} (the kernel shows itself there)"],
        )
        for path, top in [("/proc", "/proc"), ("/proc/", "/proc"), ("/sys/fs", "/sys"), ("/dev/shm", "/dev")]
    ),
    *(
        (
            volumes(path),
            [f"volumes[0].path: '{path}' belongs to the system and can't be mounted over (take a directory below it)"],
        )
        for path in ("/", "/usr", "/usr/", "/etc", "/run", "/tmp", "/bin", "/sbin", "/lib", "/lib64")
    ),
    (
        image("volumes: [{name: a, class: data, path: /a, ttl: 1d}]\n"),
        ["volumes[0].ttl: a volume of class data has no ttl (only what is in a cache can be made again)"],
    ),
    (
        image("volumes: [{name: v, class: data, path: /a}]\nos-services: {d: {reason: r, path: /a/}}\n"),
        ["os-services.d.path: '/a/' is taken by the volume 'v'"],
    ),
    (
        image("os-services: {d: {reason: r, path: /a}, e: {reason: r, path: /a}, f: {reason: r, path: /etc}}\n"),
        [
            "os-services.e.path: '/a' is taken by the os-service 'd'",
            "os-services.f.path: '/etc' belongs to the system and can't be mounted over (take a directory below it)",
        ],
    ),
    *(
        (
            image(f"{key}: [{{path: {path}, {rest}}}]\nvolumes: [{{name: v, class: {kind}, path: /srv/v/}}]\n"),
            [f"{key}[0].path: '{path}' would be hidden by {cover} (put it where no volume or private directory is)"],
        )
        for key, rest in (("files", "content: x"), ("links", "target: b"))
        for kind, path, cover in (
            ("data", "/home/app/.profile", "the app's private /home/app"),
            ("data", "/tmp/x/y", "the app's private /tmp"),
            ("data", "/tmp", "the app's private /tmp"),
            ("data", "/var/tmp/x", "the app's private /var/tmp"),
            ("data", "/run/user/1000/x", "the app's private /run/user/1000"),
            ("data", "/srv/v", "the volume 'v'"),
            ("temp", "/srv/v/x", "the volume 'v'"),
        )
    ),
    (
        image(
            "files: [{path: /srv/d/v/x, content: x}]\n"
            "volumes: [{name: d, class: discard, path: /srv/d}, {name: v, class: cache, path: /srv/d/v}]\n"
        ),
        [
            (
                "files[0].path: '/srv/d/v/x' would be hidden by the volume 'v'"
                " (put it where no volume or private directory is)"
            )
        ],
    ),
    (rights("list, list"), ["os-services.d.rights[1]: 'list' is there twice"]),
    (
        rights("create"),
        ["os-services.d.rights: `create` needs `write` (a new file that can't be written stays empty)"],
    ),
    (
        rights("read, dummy-write, write, mkdir"),
        [
            (
                "os-services.d.rights: `dummy-write` excludes `write`, `mkdir`"
                " (with dummy-write the app only believes that it writes)"
            )
        ],
    ),
    # service
    (SERVICE.format(name="none"), ["name: the name 'none' is reserved (it exists for every interface)"]),
    (SERVICE.format(name="empty"), ["name: the name 'empty' is reserved (it exists for every interface)"]),
    # deployment
    (DEPLOYMENT + "volumes: [{name: a}, {name: a}]\n", ["volumes[1].name: the name 'a' is there twice"]),
    (
        DEPLOYMENT + "os-services: {d: {instance: i, rights: [create], path: /dev}}\n",
        [
            "os-services.d.rights: `create` needs `write` (a new file that can't be written stays empty)",
            "os-services.d.path: nothing can be mounted at or below /dev (the kernel shows itself there)",
        ],
    ),
    (
        DEPLOYMENT + "os-services: {d: {instance: i, path: /a}, e: {instance: i, path: /a}}\n",
        ["os-services.e.path: '/a' is taken by the os-service 'd'"],
    ),
    (rule("to: {}"), [f"{EGRESS}.to: exactly one of `domain` and `cidr` is needed"]),
    (rule("to: {domain: a.b, cidr: 10.0.0.0/8}"), [f"{EGRESS}.to: exactly one of `domain` and `cidr` is needed"]),
    *(
        (
            rule(f'to: {{cidr: "{cidr}"}}'),
            [f"{EGRESS}.to.cidr: '{cidr}' is not a range of addresses (as 192.168.0.0/16 or fd00::/8)"],
        )
        for cidr in ("10.0.0.256/8", "10.0.0.0/33", "::/129", "a", "1.2.3")
    ),
    (
        rule("to: {cidr: 10.1.0.0/8}"),
        [f"{EGRESS}.to.cidr: '10.1.0.0/8' has bits behind its prefix (did you mean `10.0.0.0/8`?)"],
    ),
    *(
        (
            rule(f"to: {{domain: {domain}}}"),
            [f"{EGRESS}.to.domain: '{domain}' is not a domain name (between dots are 1 to 63 characters)"],
        )
        for domain in ("a..b", "x" * 64 + ".org")
    ),
    *(
        (
            rule(f"to: {{domain: a.b}}, ports: [{ports}]"),
            [f"{EGRESS}.ports[0]: '{ports}' is not a range of ports (ports go from 1 to 65535, the lower one first)"],
        )
        for ports in ("0/tcp", "65536/udp", "90-80/tcp", "1-65536/tcp")
    ),
    (rule("to: {domain: a.b}, locked: true"), [f"{EGRESS}.locked: only a deny can be locked (write action: deny)"]),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED)
def test_values_that_contradict_each_other_are_refused(text: str, expected: list[str]) -> None:
    assert findings(text) == expected


ACCEPTED = [
    osbase("successor: d/u\n"),
    osbase("os-components: {a: {title: A, depends: [b]}, b: {title: B}}\n"),
    component("select: '${host.gpu}', choice: {x: {depends: [b], packages: [p]}, virtio-gpu: {}}, packages: [p]"),
    component("commands: [[a, '${host.locale}', '$${x} $1', '']], environment: {X: '${host.architecture}'}"),
    image("settings: {t: {default: 1.5, choices: [1, 1.5]}, u: {default: false, choices: [true, false]}}\n"),
    files("${settings.theme} ${host.locale} ${deployment.name} $${HOME} $HOME $ $$ {x}"),
    image("files: [{path: /ab, content: x}, {path: /a, content: x}]\n"),
    image("files: [{path: /srv/vx, content: x}]\nvolumes: [{name: v, class: data, path: /srv/v}]\n"),
    image("files: [{path: /home/app/c/x, content: x}]\nvolumes: [{name: v, class: discard, path: /home/app/c}]\n"),
    volumes("/home/app", "/home/app/.cache", "/var", "/usr/share/games", "/tmp/a", "/processes", "/library"),
    image("volumes: [{name: a, class: cache, path: /a, ttl: 1d}, {name: b, class: temp, path: /b, quota: 1M}]\n"),
    rights("list, read, write, create, delete, mkdir, rmdir"),
    rights("list, read, dummy-write"),
    SERVICE.format(name="nonesuch"),
    rule("to: {cidr: 10.0.0.0/8}, action: deny, locked: true"),
    rule("to: {cidr: 10.1.2.3}, ports: [1-65535/udp, 80/tcp, 80-80/tcp]"),
    rule('to: {cidr: "fd00::/8"}'),
    rule('to: {domain: "*.example.org"}'),
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_values_that_fit_are_accepted(text: str) -> None:
    assert findings(text) == []
