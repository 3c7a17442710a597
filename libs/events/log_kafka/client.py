"""What every Kafka client here shares: security settings, patience with closing, and looking into causes."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """Kafka's own security settings, one to one. Passwords never appear in the representation."""

    protocol: str = "PLAINTEXT"  # SSL, SASL_PLAINTEXT, SASL_SSL
    mechanism: str = "PLAIN"  # SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, GSSAPI
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    key_password: str | None = field(default=None, repr=False)
    token_provider: Any = field(default=None, repr=False)  # aiokafka.abc.AbstractTokenProvider, for OAUTHBEARER

    def settings(self) -> dict[str, Any]:
        """Arguments of every aiokafka client. Raises OSError or ssl.SSLError for files that cannot be read."""
        given: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol in {"SSL", "SASL_SSL"}:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file:
                context.load_cert_chain(self.certificate_file, self.key_file, self.key_password)
            given["ssl_context"] = context
        if self.protocol.startswith("SASL_"):
            given |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
                "sasl_oauth_token_provider": self.token_provider,
            }
        return given


def text_of(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def patiently(closing: Awaitable[Any]) -> None:
    """Close something that may hang or fail; it is given up after CLOSE_SECONDS."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await closing
    except (KafkaError, TimeoutError, OSError) as error:
        logger.warning("a Kafka client did not close: %s", text_of(error))


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    await patiently(consumer.stop())
    await patiently(consumer._client.close())  # noqa: SLF001 - `stop()` may have been given up before its last step


def retrieved(future: asyncio.Future[Any]) -> None:
    # The first failure was raised; the others of the same transaction say the same and must not be reported as forgotten.
    if not future.cancelled():
        future.exception()


def among_causes(error: BaseException | None, kinds: tuple[type[BaseException], ...]) -> bool:
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__
    return False
