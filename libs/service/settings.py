"""Settings: `LAZO_…` variables, typed, named when they are wrong, printed without their secrets."""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

S = TypeVar("S", bound=BaseSettings)

_PASSWORD = re.compile(r"(://[^:/@]*):[^/]*@")  # up to the last @ before the path: passwords may hold one

SERVICES = ("intake", "classification", "feedback", "indicators")


class BadSettings(ValueError):
    """One line that names the variable, what is wrong with it, and what it should be. Ends the command with 2."""


def default_data() -> Path:
    """Where the embedded mode keeps its files unless told otherwise: `$XDG_DATA_HOME/lazo`, else `~/.local/share/lazo`."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "lazo"


class Settings(BaseSettings):
    """What every service can be told. Times in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="LAZO_", env_ignore_empty=True, extra="ignore", validate_default=True)

    data: Path = Field(default_factory=default_data, description="directory of the embedded engines' files")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    public_url: str | None = Field(
        default=None, description="how customers reach this machine, for links that are sent out"
    )
    language: Literal["es", "en"] = Field(default="es", description="language where nobody asked for one")

    kafka: str | None = Field(default=None, description="host:port[,host:port…]; without it the log is a file")
    kafka_prefix: str = Field(
        default="", pattern=r"^[A-Za-z0-9._-]*$", description="before topics, groups and transactional ids"
    )
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca: Path | None = Field(
        default=None, description="PEM of the authority that signed the brokers' certificates"
    )
    kafka_certificate: Path | None = None
    kafka_key: Path | None = None
    partitions: int | None = Field(
        default=None, ge=1, le=1024, description="of topics that do not exist yet; 2 embedded, 6 on Kafka"
    )
    replication: int = Field(
        default=-1, ge=-1, le=9, description="of topics that do not exist yet; -1: the broker's default"
    )

    database: str | None = Field(
        default=None, description="postgresql+asyncpg://…; without it a SQLite file per service"
    )
    pool: int = Field(default=8, ge=1, le=200, description="connections per service and process")
    vault: str | None = Field(default=None, description="path or URL of the vault; default: beside the databases")
    master_key: SecretStr | None = Field(default=None, description="base64 of 32 bytes or more")
    master_key_file: Path | None = None
    vault_cache: float = Field(default=30, ge=0, le=3600, description="seconds a person's key is kept in memory")
    keys_cache: float = Field(
        default=10, ge=0, le=300, description="seconds until a revoked API key is refused everywhere"
    )

    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_jwks: str | None = Field(default=None, description="file or https URL with the issuer's public keys")
    jwt_algorithms: Annotated[tuple[str, ...], NoDecode] = ("RS256", "ES256", "EdDSA")

    max_body: int = Field(default=8 * 1024 * 1024, ge=1024, le=1024**3)
    max_items: int = Field(default=10_000, ge=1, le=1_000_000, description="elements of one batch")
    max_depth: int = Field(default=64, ge=4, le=200, description="nesting of JSON")
    max_in_flight: int = Field(default=512, ge=1, description="requests served at once; more are told 503")
    request_timeout: float = Field(default=30, gt=0, description="until a body must have arrived")
    idempotency_hours: float = Field(
        default=168, ge=72, description="how long an answer is kept for its Idempotency-Key"
    )
    shutdown: float = Field(default=20, gt=0, le=600, description="deadline of a graceful stop")
    stalled_after: float = Field(default=120, gt=0, description="seconds behind without moving until not ready")

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    access_log: bool = True
    docs: bool = Field(default=True, description="serve the API reference")

    @field_validator("kafka")
    @classmethod
    def _brokers(cls, value: str | None) -> str | None:
        for broker in (value or "").split(",") if value else ():
            host, colon, port = broker.strip().rpartition(":")
            if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
                raise ValueError(f"{broker.strip()!r} is not host:port")
        return value

    @field_validator("database", "vault")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            name = value.partition(":")[0].partition("+")[0]
            if name not in {"postgresql", "sqlite"}:
                raise ValueError(f"{name} is not supported: postgresql+asyncpg://…, or nothing for SQLite files")
        return value

    @field_validator("database")
    @classmethod
    def _no_single_file(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("postgresql://", "postgresql+asyncpg://")):
            raise ValueError("a PostgreSQL URL; for SQLite leave it unset and name the directory with LAZO_DATA")
        return value

    @field_validator("jwt_algorithms", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("jwt_algorithms")
    @classmethod
    def _asymmetric(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        allowed = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
        if not value or set(value) - allowed:
            # A shared-secret algorithm would let whoever knows a public key sign with it.
            raise ValueError(f"one or more of {', '.join(sorted(allowed))}")
        return value

    @model_validator(mode="after")
    def _whole(self) -> "Settings":
        if self.jwt_issuer and not (self.jwt_jwks and self.jwt_audience):
            raise ValueError("LAZO_JWT_ISSUER needs LAZO_JWT_JWKS and LAZO_JWT_AUDIENCE beside it")
        if self.kafka_security.startswith("SASL") and not (self.kafka_username and self.kafka_password):
            raise ValueError("LAZO_KAFKA_SECURITY with SASL needs LAZO_KAFKA_USERNAME and LAZO_KAFKA_PASSWORD")
        if self.master_key is not None and self.master_key_file is not None:
            raise ValueError("LAZO_MASTER_KEY or LAZO_MASTER_KEY_FILE, not both")
        return self

    @property
    def embedded_log(self) -> bool:
        return self.kafka is None

    @property
    def topic_partitions(self) -> int:
        return self.partitions or (2 if self.kafka is None else 6)

    @property
    def needs_directory(self) -> bool:
        """Whether anything is kept in the data directory; then one process owns it."""
        return self.kafka is None or self.database is None

    def vault_target(self) -> str:
        """The vault's database: as told, else a schema beside the services', else a file in the data directory."""
        if self.vault is not None:
            return self.vault
        return self.database if self.database is not None else str(self.data / "vault.db")

    def database_target(self, service: str) -> str:
        return self.database if self.database is not None else str(self.data / f"{service}.db")


def load(kind: type[S], /, **given: Any) -> S:
    """Settings from the environment, `given` (from the command line; None = not given) going first. Raises BadSettings."""
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        return kind(**chosen)
    except ValidationError as error:
        raise BadSettings(_one_line(kind, error, chosen)) from None


def _one_line(kind: type[BaseSettings], error: ValidationError, given: Mapping[str, Any]) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    text = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return text
    name = str(problem["loc"][0])
    field = kind.model_fields.get(name)
    label = (
        f"--{name.replace('_', '-')}" if name in given else f"{kind.model_config.get('env_prefix', '')}{name}".upper()
    )
    secret = field is not None and "SecretStr" in str(field.annotation)
    shown = "" if secret or name in {"database", "vault"} else f"={str(problem['input'])[:80]}"
    return f"{label}{shown}: {text[:1].lower()}{text[1:]}"


def unknown(known: Iterable[type[BaseSettings]], environment: Mapping[str, str] = os.environ) -> list[str]:
    """Warnings for `LAZO_…` variables that nobody reads, with the name that was probably meant."""
    names = {
        f"{kind.model_config.get('env_prefix', '')}{field}".upper() for kind in known for field in kind.model_fields
    }
    warnings = []
    for name in sorted(environment):
        if name.startswith("LAZO_") and name not in names and not name.startswith(("LAZO_TEST_", "LAZO_SHARED_")):
            if any(name.startswith(f"LAZO_{service.upper()}_") for service in (*SERVICES, "demo")):
                continue
            near = get_close_matches(name, names, n=1)
            warnings.append(f"{name} is not a setting" + (f"; {near[0]}?" if near else ""))
    return warnings


def redacted(settings: BaseSettings) -> dict[str, str]:
    """Every setting as text, secrets and passwords inside URLs hidden, for the log at start."""
    shown: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if value is None:
            continue
        if isinstance(value, SecretStr):
            shown[name] = "***"
        elif isinstance(value, str) and "://" in value:
            shown[name] = _PASSWORD.sub(r"\1:***@", value)
        elif isinstance(value, tuple):
            shown[name] = ",".join(map(str, value))
        else:
            shown[name] = str(value)
    return shown
