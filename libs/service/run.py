"""Starting and stopping: one service or all of them in one process, one listener, one deadline.

Stop (SIGTERM, Ctrl-C), in this order under one deadline: not ready → stop accepting → requests in hand → batches in hand and
their commits → bounded relay flush → close. A second signal ends the process at once.
"""

import asyncio
import contextlib
import inspect
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from libs.events import garbage
from libs.events.clock import Clock
from libs.events.errors import is_transient
from libs.events.log import UnknownTopic
from libs.events.master_key import BadMasterKey
from libs.events.vault import NewerVault, WrongMasterKey
from libs.service import logs
from libs.service.combined import Combined
from libs.service.environment import Environment
from libs.service.lock import DirectoryInUse
from libs.service.service import Builder, Service
from libs.service.settings import BadSettings, Settings, load, redacted, unknown
from libs.service.tracing import tracing

log = structlog.get_logger("lazo.run")

# What ends a start with one line instead of a traceback: somebody can do something about it.
REFUSALS = (DirectoryInUse, BadMasterKey, WrongMasterKey, NewerVault)
TOPICS_SECONDS = 10.0


class PortInUse(RuntimeError):
    """Another program listens there."""


def name_of(build: Builder) -> str:
    """The service that `build` builds: `services/<name>/app.py`."""
    return Path(inspect.getfile(build)).parent.name


def migrations_of(build: Builder) -> Path:
    """The folder with the service's migrations, beside its `app.py`."""
    return Path(inspect.getfile(build)).parent / "migrations"


@contextlib.asynccontextmanager
async def started(environment: Environment, builders: Mapping[str, Builder]) -> AsyncIterator[dict[str, Service]]:
    """Migrate, build and start services; stop them at exit, all under the settings' deadline.

    While the log or a database is away the start is tried again, for as long as it takes: an orchestrator starts everything
    at once, in no order.
    """
    services: dict[str, Service] = {}
    try:
        for name, build in builders.items():
            services[name] = await _start(environment, name, build)
        yield services
    finally:
        await stop_all(services, environment.settings.shutdown)


async def _start(environment: Environment, name: str, build: Builder) -> Service:
    pause = 0.25
    while True:
        service: Service | None = None
        try:
            await environment.migrate(name, migrations_of(build))
            await environment.await_topics(TOPICS_SECONDS)
            service = await build(environment)
            await service.start()
        except BaseException as error:
            if service is not None:
                await service.stop(1)
            if not (is_transient(error) or isinstance(error, UnknownTopic)):
                raise
            log.warning("start.waiting", service=name, error=type(error).__name__, seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5)
        else:
            return service


async def stop_all(services: Mapping[str, Service], seconds: float) -> bool:
    """Stop services side by side; False when the deadline cut one off."""
    for service in services.values():
        service.not_ready()
    if not services:
        return True
    tasks = [asyncio.create_task(service.stop(seconds), name=f"stop {name}") for name, service in services.items()]
    done, late = await asyncio.wait(tasks, timeout=seconds + 6)
    for task in late:
        task.cancel()
    for task in done:
        if (error := task.exception()) is not None:
            log.error("stop.failed", what=task.get_name(), error=type(error).__name__)
    return not late and all(task.exception() is None for task in done)


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is opened. Raises PortInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        what = error.strerror or str(error)
        raise PortInUse(
            f"cannot listen on {host}:{port} ({what.lower()}); choose another with --port (LAZO_PORT)"
        ) from None
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """Signals are ours: uvicorn would stop the listener but not what stands behind it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: Any, settings: Settings) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, int(settings.shutdown * 0.4)),
            proxy_headers=False,
            ws="none",
            h11_max_incomplete_event_size=64 * 1024,
        )
    )


Announce = Callable[[Environment, str], None]


async def _main(
    settings: Settings,
    builders: Mapping[str, Builder],
    listener: socket.socket,
    announce: Announce | None,
    clock: Clock | None,
    beside: Callable[[Environment, Mapping[str, Service], str], Any] | None,
) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def on_signal(number: int) -> None:
        if stopping.is_set():
            log.warning("stop.forced", signal=signal.Signals(number).name)
            # The default action ends the process now; nothing is lost, the next start goes on from the stores.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    environment = await Environment.open(settings, clock)
    whole = True
    try:
        # Serving begins before the services have started, so that health and a clear "starting" can be asked for.
        combined = Combined(settings.language)
        server = _server(combined, settings)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
        services: dict[str, Service] = {}
        extra: asyncio.Task[Any] | None = None
        tidying: asyncio.Task[None] | None = None
        starting = asyncio.create_task(_start_all(environment, builders, combined, services), name="start")
        until = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait([starting, until, serving], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                garbage.settle()
                host, port = listener.getsockname()[:2]
                address = f"http://{'localhost' if host in {'127.0.0.1', '0.0.0.0', '::', '::1'} else host}:{port}"  # noqa: S104  # a comparison
                environment.announce(address.replace("localhost", "[::1]" if host == "::1" else "127.0.0.1"))
                if announce is not None:
                    announce(environment, address)
                everyone = list(services.values())
                quiet = garbage.tidy(lambda: all(service.runtime.quiet() for service in everyone))
                tidying = asyncio.create_task(quiet, name="tidy")
                waiting: list[asyncio.Task[Any]] = [until, serving, tidying]
                if beside is not None:
                    extra = asyncio.create_task(beside(environment, services, address), name="beside")
                    waiting.append(extra)
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if extra is not None and extra.done() and not stopping.is_set():
                    extra.result()
                    await asyncio.wait([until, serving, tidying], return_when=asyncio.FIRST_COMPLETED)
        finally:
            end = loop.time() + settings.shutdown
            for task in (starting, extra, tidying):
                if task is not None and not task.done():
                    task.cancel()
                    await asyncio.wait([task], timeout=2)
            for service in services.values():
                service.not_ready()
            server.should_exit = True
            await asyncio.wait([serving], timeout=settings.shutdown * 0.5)
            whole = await stop_all(services, max(1.0, end - loop.time()))
            until.cancel()
            if not serving.done():
                serving.cancel()
    finally:
        await environment.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    if not stopping.is_set():
        log.error("stopped.unasked")
        return 1
    return 0 if whole else 1


async def _start_all(
    environment: Environment, builders: Mapping[str, Builder], combined: Combined, services: dict[str, Service]
) -> None:
    for name, build in builders.items():
        service = await _start(environment, name, build)
        services[name] = service
        combined.add(service)
    combined.complete()


def run(
    settings: Settings,
    builders: Mapping[str, Builder],
    *,
    announce: Announce | None = None,
    clock: Clock | None = None,
    beside: Callable[[Environment, Mapping[str, Service], str], Any] | None = None,
) -> int:
    """Serve until a signal; the exit code. `beside` runs once everything has started (the demo's year)."""
    logs.configure(settings)
    for warning in unknown([Settings]):
        log.warning("settings.unknown", what=warning)
    try:
        listener = listen(settings.host, settings.port)
    except PortInUse as error:
        return refuse(str(error))
    tracing.start()
    log.info("starting", services=list(builders), settings=redacted(settings))
    with listener:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                return runner.run(_main(settings, builders, listener, announce, clock, beside))
        except BadSettings as error:
            return refuse(str(error), 2)
        except REFUSALS as error:
            return refuse(str(error))
        except OSError as error:
            return refuse(f"{settings.data}: {error.strerror or error}")
        finally:
            tracing.stop()


def refuse(text: str, code: int = 1) -> int:
    """One line on standard error, and the exit code."""
    sys.stderr.write(f"lazo: {text}\n")
    return code


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None  # not on this platform; asyncio's own loop serves as well, a third slower
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def serve(name: str, build: Builder) -> int:
    """What `python -m services.<name>` does: this one service, settings from the environment; the exit code."""
    try:
        settings = load(Settings)
    except BadSettings as error:
        return refuse(str(error), 2)
    return run(settings, {name: build}, announce=announced)


def announced(environment: Environment, address: str) -> None:
    """Say where the program is to be found, to people and to logs."""
    settings = environment.settings
    where = str(settings.data) if settings.needs_directory else "PostgreSQL"
    if settings.language == "es":
        text = f"Lazo está listo en {address}  (datos: {where}; Ctrl-C para terminar)"
    else:
        text = f"Lazo is ready at {address}  (data: {where}; Ctrl-C to stop)"
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
