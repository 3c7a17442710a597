"""What `lazo verify` does and says: every service's store and the log, and the words for what does not hold."""

import importlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DatabaseError

from libs.events.clock import SystemClock
from libs.events.errors import describe, is_transient
from libs.events.verification import Break, Report, verify
from libs.service.environment import Environment, make_log, open_vault
from libs.service.settings import SERVICES, Settings

MESSAGES: dict[str, dict[str, str]] = {
    "chain-altered": {"en": "the record was altered", "es": "el registro fue alterado"},
    "chain-missing": {
        "en": "{count} records before it are missing",
        "es": "faltan {count} registros antes de este",
    },
    "chain-reordered": {"en": "the record stands in another's place", "es": "el registro está en el lugar de otro"},
    "chain-inserted": {
        "en": "the record was never published: somebody inserted it",
        "es": "el registro nunca se publicó: alguien lo insertó",
    },
    "chain-not-noted": {
        "en": "the chain here is not the one that {service}'s relay noted",
        "es": "la cadena aquí no es la que anotó el relevo de {service}",
    },
    "end-missing": {
        "en": "{service} published up to here, and the record is gone",
        "es": "{service} publicó hasta aquí y el registro ya no está",
    },
    "not-an-event": {"en": "no event can be read: {error}", "es": "no se puede leer ningún evento: {error}"},
    "foreign": {"en": "{source} wrote into a topic of {owner}", "es": "{source} escribió en un tema de {owner}"},
    "wrong-key": {"en": "its key is not its partition key", "es": "su clave no es su clave de partición"},
    "wrong-partition": {"en": "its key belongs to another partition", "es": "su clave pertenece a otra partición"},
    "out-of-order": {
        "en": "{stream} version {version} comes after a later version",
        "es": "{stream}, versión {version}, viene después de una versión posterior",
    },
    "published-twice": {
        "en": "event {id} ({stream} version {version}) is there twice",
        "es": "el evento {id} ({stream}, versión {version}) está dos veces",
    },
    "differs-from-store": {
        "en": "differs from what {service} stores as {stream} version {version}",
        "es": "difiere de lo que {service} guarda como {stream}, versión {version}",
    },
    "not-stored": {
        "en": "published ({record}) and not in the store",
        "es": "publicado ({record}) y ausente del almacén",
    },
    "not-published": {
        "en": "stored as published and not in {partition}",
        "es": "guardado como publicado y ausente de {partition}",
    },
    "version-missing": {"en": "this version of the stream is missing", "es": "falta esta versión de la secuencia"},
    "version-twice": {"en": "this version of the stream is there twice", "es": "esta versión está dos veces"},
    "position-missing": {
        "en": "the row at this position is gone and was never published",
        "es": "la fila de esta posición no está y nunca se publicó",
    },
    "outbox-of-nothing": {
        "en": "waits to be published and is not among the events",
        "es": "espera publicación y no está entre los eventos",
    },
    "offset-ahead": {
        "en": "the position {next} lies beyond the end of the log, {end}",
        "es": "la posición {next} está más allá del final del registro, {end}",
    },
    "damaged": {"en": "the file is damaged: {error}", "es": "el archivo está dañado: {error}"},
    "unreadable": {"en": "cannot be read: {error}", "es": "no se puede leer: {error}"},
    "row-differs": {"en": "the row of {row} is missing or differs", "es": "la fila de {row} falta o difiere"},
    "rows-differ": {
        "en": "{count} more rows are missing or differ",
        "es": "otras {count} filas faltan o difieren",
    },
    "rows-foreign": {
        "en": "rows that the events do not account for: {rows} ({count} in all)",
        "es": "filas que ningún evento explica: {rows} ({count} en total)",
    },
    "count-differs": {
        "en": "the read model says {shown}, an independent fold of the log {wanted}",
        "es": "el modelo de lectura dice {shown}; un cálculo aparte sobre el registro, {wanted}",
    },
}

SUMMARY = {
    "en": "{records} records in {partitions} partitions, {events} events in {stores} stores: {verdict}",
    "es": "{records} registros en {partitions} particiones, {events} eventos en {stores} almacenes: {verdict}",
}
WHOLE = {"en": "everything holds", "es": "todo se sostiene"}
BROKEN = {"en": "{count} places do not hold", "es": "{count} lugares no se sostienen"}
NOTHING = {
    "en": "there is nothing to verify in {data}",
    "es": "no hay nada que verificar en {data}",
}


def message(found: Break, language: str) -> str:
    """What is wrong, without the place, in Spanish or English."""
    return MESSAGES[found.kind][language].format_map(dict(found.detail))


def lines(report: Report, language: str) -> list[str]:
    """One line per place, in the order of being found; what is wrong in several ways there is said in one line."""
    by_place: dict[str, list[str]] = {}
    # The chain judges a record once its follower is known; what it says goes first all the same.
    places = dict.fromkeys(found.where for found in report.breaks)
    for found in sorted(report.breaks, key=lambda found: not found.kind.startswith("chain-")):
        by_place.setdefault(found.where, []).append(message(found, language))
    return [f"{where}: {'; '.join(by_place[where])}" for where in places]


async def verify_all(settings: Settings, walked: Callable[[int], None] | None = None) -> Report:
    """Walk everything there is under these settings, beside a running Lazo or without one.

    A service adds its own checks by `services/<name>/verify.py` with `async def verify(environment) -> list[Break]`. What
    those cannot read is named and ends nothing else: damage is what this is called for. Raises LogUnavailable, and what the
    databases raise when they are away.
    """
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        vault = await open_vault(settings, clock)
        stack.push_async_callback(vault.close)
        log = make_log(settings)
        # Built without the data directory's lock: everything here only reads, so it may run beside `lazo up`.
        environment = Environment(settings, clock, log, vault, lock=None)
        stack.push_async_callback(environment.close)
        await log.start()
        engines = {name: environment.engine(name) for name in SERVICES if _exists(settings.database_target(name))}
        report = await verify(log, engines, walked)
        for name in report.services:
            try:
                report.breaks += await _own_checks(name, environment)
            except (
                DatabaseError,
                ValueError,
                LookupError,
            ) as error:  # a torn page, a value that is none, a gap in a stream
                if is_transient(error):
                    raise
                report.add(name, "unreadable", error=_told(error))
        return report


def _exists(target: str) -> bool:
    return "://" in target or Path(target).exists()


def _told(error: Exception) -> str:
    # The statement with its parameters says nothing here that the driver's own words do not.
    return describe(error.orig if isinstance(error, DatabaseError) and error.orig is not None else error)


async def _own_checks(service: str, environment: Environment) -> list[Break]:
    name = f"services.{service}.verify"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        return []  # this service has nothing to add, or is not in this image
    found: list[Break] = await module.verify(environment)
    return found


def summary(report: Report, language: str) -> str:
    """One line: what was walked and how it ended."""
    verdict = BROKEN[language].format(count=len({b.where for b in report.breaks})) if report.breaks else WHOLE[language]
    return SUMMARY[language].format(
        records=report.records,
        partitions=report.partitions,
        events=report.events,
        stores=report.stores,
        verdict=verdict,
    )


def as_dict(report: Report, language: str) -> dict[str, Any]:
    """The answer for programs."""
    return {
        "ok": not report.breaks,
        "records": report.records,
        "partitions": report.partitions,
        "events": report.events,
        "stores": report.stores,
        "breaks": [
            {"where": b.where, "kind": b.kind, "detail": dict(b.detail), "text": message(b, language)}
            for b in report.breaks
        ],
    }
