"""The `lazo` command; `python -m services` is the same."""

import asyncio
import importlib
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from libs.events import garbage
from libs.service.settings import SERVICES, BadSettings, Settings, load

T = TypeVar("T")

# Each of these rooms may add commands: `def register(app: typer.Typer) -> None`.
PLUGINS = (
    "services.intake.cli",
    "services.classification.cli",
    "services.classification.classifier_cli",
    "services.classification.cli_recode",
    "services.classification.detect_cli",
    "services.classification.cli_inputs",
    "services.indicators.cli",
    "services.demo.cli",
    "services.verify",
)

app = typer.Typer(
    name="lazo",
    help="Complaints that go all the way round: heard, understood, put right, and told.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys_app = typer.Typer(help="API keys, with scopes.", no_args_is_help=True)
topics_app = typer.Typer(help="Kafka topics.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(topics_app, name="topics")

Data = Annotated[Path | None, typer.Option(help="Directory of the embedded engines (LAZO_DATA).", show_default=False)]
Host = Annotated[str | None, typer.Option(help="Address to listen on (LAZO_HOST).", show_default="127.0.0.1")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (LAZO_PORT).", show_default="8000")]
Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


def settings_or_exit(**given: Any) -> Settings:
    """The settings; a wrong one ends the command with one line and exit code 2."""
    try:
        return load(Settings, **given)
    except BadSettings as error:
        raise stop(str(error), 2) from None


def stop(text: str, code: int = 1) -> typer.Exit:
    """To be raised: one line on standard error, and the exit code."""
    sys.stderr.write(f"lazo: {text}\n")
    return typer.Exit(code)


def _builder(name: str) -> Any:
    return importlib.import_module(f"services.{name}.app").build


@app.command()
def up(data: Data = None, port: Port = None, host: Host = None) -> None:
    """All four services and the console in one process."""
    garbage.loading()
    settings = settings_or_exit(data=data, port=port, host=host)
    from libs.service.run import announced, run

    raise typer.Exit(run(settings, {name: _builder(name) for name in SERVICES}, announce=announced))


@app.command()
def serve(
    service: Annotated[str, typer.Argument(help=" | ".join(SERVICES))],
    data: Data = None,
    port: Port = None,
    host: Host = None,
) -> None:
    """One service."""
    garbage.loading()
    if service not in SERVICES:
        raise stop(f"{service!r} is no service: {', '.join(SERVICES)}", 2)
    settings = settings_or_exit(data=data, port=port, host=host)
    from libs.service.run import announced, run

    raise typer.Exit(run(settings, {service: _builder(service)}, announce=announced))


@app.command()
def status(
    data: Data = None,
    url: Annotated[str | None, typer.Option(help="Where Lazo runs.", show_default="http://LAZO_HOST:LAZO_PORT")] = None,
    as_json: Json = False,
) -> None:
    """Per service: events behind, own events pending, parked in quarantine, age of the oldest."""
    settings = settings_or_exit(data=data)
    from services.operating import statuses

    found = _run(lambda: statuses(settings, url))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        typer.echo(f"{'':16}{'behind':>8}{'pending':>9}{'parked':>8}{'oldest':>10}")
        for name, row in found.items():
            if "error" in row:
                typer.echo(f"{name:16}{row['error']}")
            else:
                oldest = f"{row['oldest_seconds']:.0f} s"
                idle = "  idle" if row["idle"] else "" if row.get("running", True) else "  not running"
                typer.echo(f"{name:16}{row['behind']:>8}{row['pending']:>9}{row['parked']:>8}{oldest:>10}{idle}")
    if all("error" in row for row in found.values()):
        raise typer.Exit(1)


@app.command()
def migrate(data: Data = None) -> None:
    """Run every service's migrations; safe to repeat, and beside running instances of the same version."""
    settings = settings_or_exit(data=data)
    from services.operating import migrate_all

    for name, revision in _run(lambda: migrate_all(settings)).items():
        typer.echo(f"{name}: {revision}")


@topics_app.command("apply")
def topics_apply() -> None:
    """Create the topics that are missing; those that exist stay as they are."""
    settings = settings_or_exit()
    from services.operating import apply_topics

    for topic, partitions in _run(lambda: apply_topics(settings)).items():
        typer.echo(f"{topic}: {partitions} partitions")


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Option(help="What the key is known by when it is to be revoked.")],
    scope: Annotated[list[str], typer.Option(help="e.g. intake:write; repeat for several; '*:admin' for all.")],
    data: Data = None,
    source: Annotated[str | None, typer.Option(help="The one source the key may send as.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; without it, never.")] = None,
) -> None:
    """Make a key and print it, alone, on standard output. It cannot be shown again."""
    settings = settings_or_exit(data=data)
    from services.operating import create_key

    typer.echo(_run(lambda: create_key(settings, name, scope, source, days)))


@keys_app.command("list")
def keys_list(data: Data = None, as_json: Json = False) -> None:
    """Every key ever made: id, name, scopes, state."""
    settings = settings_or_exit(data=data)
    from services.operating import list_keys

    rows = _run(lambda: list_keys(settings))
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        bound = f"  source {row['source']}" if row["source"] else ""
        typer.echo(
            f"{row['id']}  {row['state']:8}  {row['created'][:10]}  {row['name']}  {' '.join(row['scopes'])}{bound}"
        )


@keys_app.command("revoke")
def keys_revoke(which: Annotated[str, typer.Argument(help="Id, name, or the key itself.")], data: Data = None) -> None:
    """Revoke a key; running services refuse it within LAZO_KEYS_CACHE seconds (10)."""
    settings = settings_or_exit(data=data)
    from services.operating import revoke_key

    count = _run(lambda: revoke_key(settings, which))
    sys.stderr.write(f"{count} revoked\n")


def _run(work: Callable[[], Awaitable[T]]) -> T:
    """Run it; what somebody can do something about ends in one line."""
    from sqlalchemy.exc import DBAPIError

    from libs.events.errors import Transient
    from libs.events.log import LogError
    from libs.service import keys
    from libs.service.run import REFUSALS
    from services.operating import Refused

    async def wrapped() -> T:
        return await work()

    try:
        return asyncio.run(wrapped())
    except (BadSettings, keys.BadScope) as error:
        raise stop(str(error), 2) from None
    except (*REFUSALS, Refused, keys.NoSuchKey, LogError, Transient, ValueError) as error:
        raise stop(str(error)) from None
    except DBAPIError as error:
        raise stop(f"the database cannot be reached ({type(error.orig).__name__})") from None
    except OSError as error:
        raise stop(f"{error.filename or ''} {error.strerror or error}".strip()) from None


def _plug_in() -> None:
    for name in PLUGINS:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            # An image that holds one service lacks the others' rooms and libraries; a mistake inside a room is told.
            if error.name is not None and (
                name.startswith(error.name) or not error.name.startswith(("services", "libs"))
            ):
                continue
            raise
        register = getattr(module, "register", None)
        if register is not None:
            register(app)


# Commands of this module alone: `lazo keys create` need not wait for the rooms of the others.
OWN = frozenset({"up", "serve", "status", "migrate", "topics", "keys"})


def main() -> None:
    """Entry point of the `lazo` command."""
    if not OWN.intersection(sys.argv[1:2]):
        _plug_in()
    app()


if __name__ == "__main__":
    main()
