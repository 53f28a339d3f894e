# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the verbs about running apps share: the assembly of a deployment, and finding a running instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftos.errors import FtosError, LaunchError, quote

if TYPE_CHECKING:
    from pathlib import Path

    from ftos.cli.context import App
    from ftos.runtime.assemble import Assembly
    from ftos.runtime.container import Container
    from ftos.runtime.control import Command, Kind
    from ftos.runtime.instances import InstanceRecord


def assembly_of(app: App, name: str) -> Assembly:
    """The assembly of a deployment as it is now, its image built or not."""
    from ftos.cli.building import quiet_builder
    from ftos.runtime.assemble import NOT_BUILT

    image = app.catalog.image(app.catalog.deployment(name).image)
    built = quiet_builder(app).find(image)
    commit, tree = (built.commit, built.tree) if built else (NOT_BUILT, app.places.store / "trees" / NOT_BUILT)
    return _assemble(app, name, commit, tree)


def launch(app: App, name: str) -> tuple[Assembly, Container]:
    """Start a container for a deployment; its image is built first, with progress, when it is not in the store."""
    from ftos.cli.building import builder
    from ftos.cli.progress import progress
    from ftos.host.facts import gather
    from ftos.runtime.assemble import prepared
    from ftos.runtime.container import Container

    image = app.catalog.image(app.catalog.deployment(name).image)
    while True:
        with progress() as shown:
            images = builder(app, gather(app.catalog.host()), shown)
            built = images.ready(image)
        with images.store.reading():
            if not built.tree.is_dir():  # purged between the build and here
                continue
            assembly = _assemble(app, name, built.commit, built.tree)
            with prepared(app.places, assembly) as record:
                container = Container(app.places, assembly.plan, record)
            images.holds.mark_used(image.name)
            return assembly, container


def _assemble(app: App, name: str, commit: str, tree: Path) -> Assembly:
    from ftos.host.facts import gather
    from ftos.runtime.assemble import assemble

    return assemble(app.places, app.catalog, gather(app.catalog.host()), app.catalog.deployment(name), commit, tree)


def running_instance(app: App, name: str) -> InstanceRecord:
    """The newest running instance of a deployment, or the instance of this very name. Raises FtosError."""
    from ftos.runtime.instances import running

    found = running(app.places)
    exact = [record for record in found if record.instance == name]
    if exact:
        return exact[0]
    deployment = app.catalog.deployment(name)
    own = [record for record in found if record.id == deployment.id]
    if not own:
        raise FtosError(f"{name} is not running", f"start it with `ftos run {name}`")
    return own[-1]


def run_inside(app: App, name: str, arguments: tuple[str, ...]) -> int:
    """Run a command in a running instance, with this process's standard streams. Returns its exit status."""
    from ftos.runtime.control import Command, Kind
    from ftos.runtime.instances import control_path

    record = running_instance(app, name)
    command = Command(arguments=arguments, environment=record.environment, directory=record.working_directory)
    return carry(control_path(app.places, record), Kind.EXEC, command, name)


def carry(control: Path, kind: Kind, command: Command, name: str) -> int:
    """Start a process through the control socket of a container and carry its streams until it ends.

    Raises LaunchError with status 126 or 127 when the program can't be executed.
    """
    from ftos.runtime import session
    from ftos.runtime.control import Connection

    try:
        connection = Connection.connect(control)
    except OSError as error:
        raise FtosError(f"{name} is not running any more", "see: ftos ps") from error
    try:
        return session.run(connection, kind, command)
    except session.StartFailed as failure:
        problem = LaunchError(f"{name}: could not run {quote(command.arguments[0])}: {failure}", "is it in the image?")
        problem.status = failure.status
        raise problem from failure
    finally:
        connection.close()
