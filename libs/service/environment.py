"""What the services of one process share: settings, clock, log, vault, and the lock on the data directory."""

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.events.catalogue import topics
from libs.events.clock import Clock, SystemClock
from libs.events.engines import make_engine
from libs.events.errors import is_transient
from libs.events.log import Log
from libs.events.log_sqlite import SqliteLog
from libs.events.master_key import decoded, from_file, read_or_make
from libs.events.settings import MachinerySettings
from libs.events.vault import Vault
from libs.service.keys import Keyring
from libs.service.lock import DirectoryLock
from libs.service.migration import migrate
from libs.service.settings import BadSettings, Settings

if TYPE_CHECKING:
    from libs.service.http.jwt import Tokens


def master_key(settings: Settings) -> bytes:
    """The master key as the settings say. Embedded, without one given: `<data>/master.key`, made at the first start.

    Raises BadSettings, BadMasterKey, OSError.
    """
    if settings.master_key is not None:
        return decoded(settings.master_key.get_secret_value())
    if settings.master_key_file is not None:
        return from_file(settings.master_key_file)
    if "://" in settings.vault_target():
        # Several machines share this vault: a key that each would make for itself would lock the others out.
        raise BadSettings(
            "LAZO_MASTER_KEY or LAZO_MASTER_KEY_FILE is needed for a vault in PostgreSQL (openssl rand -base64 32)"
        )
    return read_or_make(settings.data / "master.key")


async def open_vault(settings: Settings, clock: Clock) -> Vault:
    """The vault alone, without the lock: what `lazo keys` needs, also beside a running `lazo up`."""
    if "://" not in settings.vault_target():
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    return await Vault.open(settings.vault_target(), master_key(settings), clock, cache_life=settings.vault_cache)


def make_log(settings: Settings) -> Log:
    """The log as the settings say; not started."""
    if settings.kafka is None:
        return SqliteLog(settings.data / "log.db")
    from libs.events.log_kafka import KafkaLog  # aiokafka costs 60 ms to import

    return KafkaLog(settings.kafka, prefix=settings.kafka_prefix, **_security(settings))


def _security(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if settings.replication != -1:
        options["replication"] = settings.replication
    if settings.kafka_security != "PLAINTEXT":
        options["security_protocol"] = settings.kafka_security
    if settings.kafka_security.startswith("SASL"):
        assert settings.kafka_password is not None
        options["sasl_mechanism"] = settings.kafka_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    if settings.kafka_security.endswith("SSL"):
        import ssl

        context = ssl.create_default_context(cafile=str(settings.kafka_ca) if settings.kafka_ca else None)
        if settings.kafka_certificate is not None:
            context.load_cert_chain(settings.kafka_certificate, settings.kafka_key)
        options["ssl_context"] = context
    return options


class Environment:
    """Opened once per process and handed to every service's `build`."""

    def __init__(self, settings: Settings, clock: Clock, log: Log, vault: Vault, lock: DirectoryLock | None) -> None:
        self.settings, self.clock, self.log, self.vault = settings, clock, log, vault
        self._lock = lock
        self._engines: dict[str, AsyncEngine] = {}
        self._migrated: set[str] = set()
        self._topics: asyncio.Task[None] | None = None
        self.topics_ready = asyncio.Event()
        self._waited = False
        self.keyring = Keyring(vault, settings.keys_cache)
        self.tokens: Tokens | None = None
        if settings.jwt_issuer is not None:
            from libs.service.http.jwt import Tokens as JwtTokens  # httpx and PyJWT cost 120 ms to import

            self.tokens = JwtTokens(settings, clock)
        self.signing_key = b""  # signs cursors and sessions; the same in every process that shares the vault

    @classmethod
    async def open(cls, settings: Settings, clock: Clock | None = None) -> "Environment":
        """Lock the data directory, open the vault, start the log.

        Kafka being away stops nobody: topics are made as soon as it answers. Raises DirectoryInUse, BadSettings,
        BadMasterKey, WrongMasterKey.
        """
        clock = clock or SystemClock()
        lock = DirectoryLock(settings.data) if settings.needs_directory else None
        if lock is not None:
            lock.take()
        async with contextlib.AsyncExitStack() as stack:
            if lock is not None:
                stack.callback(lock.release)
            vault = await open_vault(settings, clock)
            stack.push_async_callback(vault.close)
            log = make_log(settings)
            environment = cls(settings, clock, log, vault, lock)
            environment.signing_key = await vault.system_key("signing")
            await log.start()
            stack.push_async_callback(log.stop)
            if settings.embedded_log:
                await environment.make_topics()
            else:
                environment._topics = asyncio.create_task(environment._keep_making_topics(), name="topics")
            stack.pop_all()
            return environment

    async def make_topics(self) -> None:
        """Create the topics that are missing. Raises LogUnavailable."""
        await self.log.ensure_topics(dict.fromkeys(topics.ALL, self.settings.topic_partitions))
        self.topics_ready.set()

    async def await_topics(self, seconds: float) -> None:
        """Wait for the topics to be there, but only once and no longer than `seconds`: with the log away, a service that
        met it before goes on from its store."""
        if self._waited or self.topics_ready.is_set():
            return
        self._waited = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.topics_ready.wait()

    async def _keep_making_topics(self) -> None:
        pause = 0.5
        while True:
            try:
                await self.make_topics()
            except Exception as error:
                if not is_transient(error):
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10)
            else:
                return

    def engine(self, service: str) -> AsyncEngine:
        """The service's own database; the same engine however often it is asked for."""
        if service not in self._engines:
            self._engines[service] = make_engine(
                self.settings.database_target(service), service=service, pool_size=self.settings.pool
            )
        return self._engines[service]

    def announce(self, address: str) -> None:
        """Note beside the data, where there is a data directory, at which address this process serves it."""
        if self._lock is not None:
            self._lock.announce(address)

    def machinery(self) -> MachinerySettings:
        """The bounds of every service's machinery, with what the settings say of them."""
        return MachinerySettings(stuck_after=self.settings.stalled_after)

    async def migrate(self, service: str, location: Path) -> None:
        """Bring the service's database to the newest revision in `location`; once per process."""
        if service not in self._migrated:
            await migrate(self.engine(service), location, service=service)
            self._migrated.add(service)

    def note_migrated(self, service: str) -> None:
        """The service's database is known to be at the newest revision: `migrate` need not look."""
        self._migrated.add(service)

    def migrated(self, service: str) -> bool:
        return service in self._migrated

    async def close(self) -> None:
        """Close everything, the lock last."""
        if self._topics is not None:
            self._topics.cancel()
            await asyncio.wait([self._topics])
        await self.log.stop()
        for engine in self._engines.values():
            await engine.dispose()
        await self.vault.close()
        if self._lock is not None:
            self._lock.release()
