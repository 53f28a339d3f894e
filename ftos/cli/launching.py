# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the verbs about running apps share: the assembly of a deployment, and finding a running instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftos.errors import FtosError, LaunchError, quote

if TYPE_CHECKING:
    from pathlib import Path

    from ftos.cli.context import App
    from ftos.host.facts import HostFacts
    from ftos.image.store import BuiltImage
    from ftos.runtime.assemble import Assembly
    from ftos.runtime.container import Container
    from ftos.runtime.control import Command, Kind
    from ftos.runtime.instances import InstanceRecord


def _images(app: App, name: str, ensure: bool) -> tuple[HostFacts, BuiltImage | None]:
    """The facts of this host, and the image of a deployment; built, with progress, or None when it is not."""
    from ftos.cli.building import builder
    from ftos.cli.progress import progress
    from ftos.host.facts import gather

    image = app.catalog.image(app.catalog.deployment(name).image)
    facts = gather(app.catalog.host())
    with progress() as shown:
        images = builder(app, facts, shown)
        return facts, images.ensure(image) if ensure else images.find(image)


def assembly_of(app: App, name: str) -> Assembly:
    """The assembly of a deployment as it is now, its image built or not."""
    from ftos.runtime.assemble import NOT_BUILT, assemble

    facts, built = _images(app, name, ensure=False)
    commit, tree = (built.commit, built.tree) if built else (NOT_BUILT, app.places.store / "trees" / NOT_BUILT)
    return assemble(app.places, app.catalog, facts, app.catalog.deployment(name), commit, tree)


def launch(app: App, name: str) -> tuple[Assembly, Container]:
    """Start a container for a deployment; its image is built first when it is not in the store."""
    from ftos.cli.building import store
    from ftos.image.holds import Holds
    from ftos.runtime.assemble import NOT_BUILT, prepared
    from ftos.runtime.container import Container

    while True:
        _images(app, name, ensure=True)
        with store(app).reading():  # between the build and here it may have been purged
            assembly = assembly_of(app, name)
            if assembly.commit == NOT_BUILT:
                continue
            with prepared(app.places, assembly) as record:
                container = Container(app.places, assembly.plan, record)
            Holds(app.places).mark_used(record.image)
            return assembly, container


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
