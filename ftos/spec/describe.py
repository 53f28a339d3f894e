# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every key of every record means, in a few words.

One table feeds the hints of error messages, the JSON schemas (`ftos.spec.schema`) and `docs/descriptors.md`. Whoever
adds a field to a record adds its line here; a test holds it.
"""

from __future__ import annotations

from ftos.spec import records

_COMMON = {
    "kind": "what the file describes",
    "schema": "version of the descriptor format",
}

KEYS: dict[type[records.Record], dict[str, str]] = {
    records.Osbase: _COMMON
    | {
        "name": "DISTRO/RELEASE, as the directories are called",
        "title": "the name for people",
        "status": "whether images should use it: supported, deprecated (still built) or retired (refused)",
        "successor": "the osbase to move to",
        "engine": "the package manager that builds it",
        "sources": "where packages come from",
        "keys": "files in `keys/` beside this file which packages are verified with",
        "base-packages": "what every image has, beyond what the package manager calls essential",
        "os-components": "optional parts which images ask for by name",
        "environment": "environment variables of every app",
        "post-clean": "paths which are removed from every image",
    },
    records.Source: {
        "mirror": "role of the mirror, which the host maps to an URL: debian, debian-security",
        "suite": "suite of the repository: trixie, trixie-updates",
        "components": "parts of the suite: main, contrib",
    },
    records.OsComponent: {
        "title": "the name for people",
        "packages": "packages which it means on this osbase; may be none",
        "depends": "other os-components which it needs",
        "commands": "commands as lists, run in the build container after the installation; ${host.NAME} is filled in",
        "environment": "environment variables of apps whose image has it; ${host.NAME} is filled in",
        "select": "the host fact that decides which choice is added: ${host.gpu}",
        "choice": "value of the host fact → what is added there",
        "default": "what is added for every other value; without it, such a host can't have the component",
    },
    records.Choice: {
        "packages": "packages which are added",
        "depends": "other os-components which are added",
        "commands": "commands which are added",
        "environment": "environment variables which are added",
    },
    records.Image: _COMMON
    | {
        "name": "name of the image; the file is called NAME.yml",
        "title": "the name for people",
        "version": "version of this descriptor, in quotes",
        "osbase": "what it is built on: debian/trixie",
        "os-components": "optional parts of the osbase which it needs",
        "packages": "packages of the distro which it needs",
        "repositories": "extra package sources, compatible with the osbase",
        "post-clean": "paths which are removed after the install",
        "environment": "environment variables of the app",
        "settings": "what a deployment may set; filled into `files`",
        "files": "files laid over the image for each deployment",
        "links": "symlinks laid over the image",
        "command": "program and arguments, as a list; no shell is involved",
        "working-directory": "where the command starts",
        "writable-root": "the root is writable where the app's own rights allow; changes are gone at exit",
        "os-services": "what the app asks for; grants nothing",
        "volumes": "where the app keeps what it writes",
        "handlers": "what the app can open for others; not enforced yet",
    },
    records.Repository: {
        "url": "address of the repository: https://… or file://…",
        "suite": "suite of the repository",
        "components": "parts of the suite",
        "key": "file beside the descriptor with the key which it is verified with",
    },
    records.Setting: {
        "default": "the value unless a deployment says otherwise; its type is the setting's type",
        "choices": "all values which are allowed; any value of the type when left out",
        "title": "the name for people",
    },
    records.File: {
        "path": "where in the image",
        "content": "its text; ${settings.NAME}, ${host.NAME} and ${deployment.name} are filled in, $${ is a literal ${",
        "mode": "permission bits, octal, in quotes",
    },
    records.Link: {
        "path": "where in the image",
        "target": "what it points to, as in ln -s",
    },
    records.Request: {
        "interface": "kind of os-service; the key when left out",
        "required": "the app makes no sense without it",
        "reason": "say why the app wants it",
        "rights": "what it wants to do in a directory",
        "path": "where in the app's world it is to appear",
    },
    records.Volume: {
        "name": "name of the volume",
        "class": "data (kept, backed up), settings, cache (may be emptied), temp (in memory), discard (changes vanish)",
        "path": "where in the app's world it appears",
        "quota": "how large it may grow: the size of a temp or discard volume; not enforced yet for the other classes",
        "ttl": "files of a cache which were not used for so long may be removed; not enforced yet",
    },
    records.Handlers: {
        "mime-types": "types of files which it opens",
        "url-schemes": "schemes of URLs which it opens",
    },
    records.Host: _COMMON
    | {
        "owner": "login name of the person whose device this is",
        "architecture": "machine that images are for, as `uname -m` has it, where it is not this device's",
        "mirrors": "URL for each role of a mirror",
        "tools": "package managers which this system has not: apk",
        "remotes": "stores from which images are pulled instead of built, tried in this order",
        "images": "when images are purged by themselves; no data is lost, the next launch brings them back",
        "gpu": "kernel driver of the graphics processor, where it is not found out rightly: msm, virtio-gpu, none",
        "locale": "language and region, for images with the os-component locale",
        "timezone": "time zone, for images with the os-component timezone",
    },
    records.Tool: {
        "archive": "file with a minirootfs (.tar.gz) or an apk-tools-static package (.apk)",
        "sha256": "checksum of the archive",
    },
    records.Remote: {
        "url": "where `ftos image export` has put the images",
        "key": "file beside host.yml with the public key that they are signed with",
    },
    records.Keeping: {
        "purge-after": "images that were not used for so long are purged: 90d",
        "keep-free": "with less free space, images that nobody used for a day are purged, longest unused first: 1G",
    },
    records.Service: _COMMON
    | {
        "name": "name of the instance; the file is called NAME.yml",
        "interface": "kind of os-service which it offers",
        "provider": "implementation of the interface",
        "title": "the name for people",
        "settings": "what the provider is to do; depends on the provider",
    },
    records.Deployment: _COMMON
    | {
        "name": "name of the deployment; the file is called NAME.yml",
        "id": "d- and eight hex digits, given by `ftos deploy`; never changes, data hang on it",
        "image": "the image which is deployed",
        "settings": "values for the image's settings",
        "os-services": "what is granted: a service instance for a request of the image",
        "volumes": "choices about the image's volumes",
        "limits": "how much of the device it may use",
        "autostart": "start it with the device; not enforced yet, nothing starts apps by itself",
    },
    records.Binding: {
        "instance": "name of the service instance; `none` and `empty` exist for every interface",
        "rights": "what is granted in a directory; list and read when left out",
        "path": "where in the app's world it appears, if elsewhere than the image says",
        "scope": "limits of the grant; depends on the interface",
        "default": "network only: what happens to connections that no rule names",
        "enforcement": "network only: enforce refuses, audit only records",
        "egress": "network only: rules for connections that the app opens",
    },
    records.EgressRule: {
        "to": "where to",
        "ports": "ports as 443/tcp or 5000-5010/udp; all when left out",
        "action": "allow or deny",
        "locked": "nothing wins over this deny",
    },
    records.Destination: {
        "domain": "a name, or *.NAME for all below it",
        "cidr": "addresses: 192.168.0.0/16",
    },
    records.DeploymentVolume: {
        "name": "name of a volume of the image",
        "backup": "whether backups contain it",
        "quota": "how large it may grow, instead of what the image says; not enforced yet for data, settings and cache",
    },
    records.Limits: {
        "memory": "most memory that it may use",
        "pids": "most processes and threads that it may have",
        "cpu-weight": "share of the processor when it is short; 100 is usual",
    },
}
