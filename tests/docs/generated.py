"""The parts of docs/reference that follow from the code: settings, events, routes, codes, commands, fault points.

    python -m tests.docs.generated           write them again
    python -m tests.docs.generated --check   write nothing, exit 1 if something would change

A generated part stands between `<!-- generated: NAME -->` and `<!-- end generated -->`; the rest of a page is written by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import typer.main
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

import services.__main__ as command
from libs.events import catalogue, faults
from libs.events.catalogue import topics
from libs.service.http import problems
from libs.service.http.auth import require
from libs.service.settings import SERVICES, Settings
from libs.service.testing import running
from services.classification.settings import ClassificationSettings
from services.feedback.settings import FeedbackSettings
from services.indicators.settings import IndicatorsSettings
from services.intake.domain.faults import SENTENCES
from services.intake.settings import IntakeSettings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "reference"
PART = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end generated -->)", re.DOTALL)

# What the models do not say beside the field, because its name says it to whoever knows Kafka or JWT.
MORE: Mapping[str, str] = {
    "LAZO_KAFKA_SECURITY": "how brokers are reached",
    "LAZO_KAFKA_MECHANISM": "SASL mechanism",
    "LAZO_KAFKA_USERNAME": "for SASL",
    "LAZO_KAFKA_PASSWORD": "for SASL; never printed",
    "LAZO_KAFKA_CERTIFICATE": "PEM of our own certificate, for mutual TLS",
    "LAZO_KAFKA_KEY": "PEM of its key",
    "LAZO_MASTER_KEY_FILE": "file with the master key; not readable by everybody",
    "LAZO_JWT_ISSUER": "`iss` of accepted tokens; needs the next two",
    "LAZO_JWT_AUDIENCE": "`aud` of accepted tokens",
    "LAZO_JWT_ALGORITHMS": "accepted signatures; asymmetric ones only",
    "LAZO_MAX_BODY": "bytes of a request's body",
    "LAZO_LOG_LEVEL": "least level that is logged",
    "LAZO_LOG_FORMAT": "auto: for people on a terminal, JSON elsewhere",
    "LAZO_ACCESS_LOG": "a line per request",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _type(annotation: Any) -> str:
    text = re.sub(
        r"typing\.|Optional|SecretStr", lambda found: "secret" if found[0] == "SecretStr" else "", str(annotation)
    )
    if options := re.search(r"Literal\[(.*?)\]", text):
        return " · ".join(f"`{part.strip().strip(chr(39))}`" for part in options[1].split(","))
    for known, shown in (("Path", "path"), ("bool", "yes or no"), ("int", "whole number"), ("float", "number"),
                         ("secret", "secret"), ("dict", "pairs"), ("frozenset", "list"), ("tuple", "list")):  # fmt: skip
        if known in text:
            return shown
    return "text"


def _default(model: type[BaseSettings], name: str) -> str:
    field = model.model_fields[name]
    if name in {"data", "regimes_folder"}:
        return "`~/.local/share/lazo`" if name == "data" else "`deploy/rulebooks/regimes`"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or not (value or isinstance(value, int | float)):
        return "–"
    if isinstance(value, frozenset | tuple):
        return f"`{','.join(sorted(str(part) for part in value))}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def settings_table(model: type[BaseSettings]) -> str:
    """Variable, type, default and meaning of every field."""
    prefix = str(model.model_config.get("env_prefix", ""))
    rows = []
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name}".upper()
        rows.append(
            [f"`{variable}`", _type(field.annotation), _default(model, name), field.description or MORE[variable]]
        )
    return table(["variable", "type", "default", "meaning"], rows)


def events_table() -> str:
    """Every type by topic: key, personal fields, meaning."""
    key = {topics.FINDINGS: "finding id", topics.RULEBOOK: "section"}
    parts = []
    for topic in topics.ALL:
        rows = []
        for name, model in catalogue.types().items():
            if topic == model.TOPIC:
                own = model.__doc__ if model.__doc__ and "__doc__" in vars(model) else ""
                personal = ", ".join(f"`{field}`" for field in catalogue.personal_fields(model)) or "–"
                rows.append([f"[`{name}`](../../schemas/events/{name}.json)", personal, " ".join((own or "").split())])
        parts.append(
            f"### `{topic}`\n\nWritten by {topics.OWNER[topic]}. Key: {key.get(topic, 'the customer’s pseudonym')}.\n\n"
            + table(["type", "sealed fields", "meaning"], rows)
        )
    return "\n".join(parts)


def _scope(dependant: Dependant) -> str:
    for inner in dependant.dependencies:
        if isinstance(inner.call, require):
            return f"`{inner.call.scope}`"
        if (found := _scope(inner)) != "–":
            return found
    return "–"


def _routes(routes: Iterable[Any]) -> Iterable[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            yield route
        elif not isinstance(route, APIRoute) and (
            more := getattr(getattr(route, "original_router", None), "routes", None)
        ):
            yield from _routes(more)


async def _apps() -> dict[str, Any]:
    builders = [importlib.import_module(f"services.{name}.app").build for name in SERVICES]
    async with running(*builders) as up:
        return {name: service.app for name, service in up.services.items()}


def routes_tables() -> str:
    """Every route of every service with its scope."""
    parts = []
    for name, app in asyncio.run(_apps()).items():
        document, rows = app.openapi(), []
        scopes = {
            (method, route.path_format): _scope(route.dependant)
            for route in _routes(app.routes)
            for method in route.methods or ()
        }
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                scope = scopes.get((method.upper(), path), "–")
                rows.append(
                    [f"`{method.upper()} {path.removeprefix(f'/{name}/v1')}`", scope, operation.get("summary", "")]
                )
        parts.append(f"### {name}\n\nUnder `/{name}/v1`.\n\n" + table(["call", "scope", "meaning"], rows))
    return "\n".join(parts)


def problem_codes() -> str:
    """Codes of whole answers."""
    for name in SERVICES:
        importlib.import_module(f"services.{name}.app")
    return table(
        ["`code`", "title"], [[f"`{code}`", english] for code, (english, _) in sorted(problems.TITLES.items())]
    )


def element_codes() -> str:
    """Codes of one field of an interaction or a case update."""
    rows = [[f"`{code}`", re.sub(r"\{(\w+)\}", r"…", english)] for code, (_, english) in sorted(SENTENCES.items())]
    return table(["`errors[].code`", "meaning"], rows)


def commands() -> str:
    """Every command with its options."""
    command._plug_in()
    group = typer.main.get_command(command.app)
    parts: list[str] = []

    def walk(name: str, found: Any) -> None:
        inner = getattr(found, "commands", None)
        if inner:
            for one, nested in sorted(inner.items()):
                walk(f"{name} {one}", nested)
            return
        arguments = [str(p.name) for p in found.params if getattr(p, "param_type_name", "") == "argument"]
        rows = [
            [" ".join(f"`{option}`" for option in [*parameter.opts, *parameter.secondary_opts]), _help(parameter)]
            for parameter in found.params
            if getattr(parameter, "param_type_name", "") == "option" and parameter.name != "help"
        ]
        usage = " ".join([name, *(argument.upper() for argument in arguments)])
        text = " ".join((found.help or "").split("\n\n")[0].split())
        parts.append(f"### {usage}\n\n{text}\n" + (f"\n{table(['option', 'meaning'], rows)}" if rows else ""))

    walk("lazo", group)
    return "\n".join(parts)


def _help(parameter: Any) -> str:
    text = str(getattr(parameter, "help", "") or "")
    return text + (" Required." if parameter.required else "")


def fault_points() -> str:
    """Every crash point; whether code passes it in this version."""
    source = "\n".join(
        path.read_text("utf-8") for folder in ("libs", "services") for path in (ROOT / folder).rglob("*.py")
    )
    rows = [
        [
            str(number),
            f"`{name}`",
            "yes" if re.search(rf"""point\(\s*["']{re.escape(name)}["']""", source) else "not yet",
        ]
        for name, number in faults.POINTS.items()
    ]
    return table(["no.", "point", "passed"], rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "settings-all": lambda: settings_table(Settings),
    "settings-intake": lambda: settings_table(IntakeSettings),
    "settings-classification": lambda: settings_table(ClassificationSettings),
    "settings-feedback": lambda: settings_table(FeedbackSettings),
    "settings-indicators": lambda: settings_table(IndicatorsSettings),
    "events": events_table,
    "routes": routes_tables,
    "problem-codes": problem_codes,
    "element-codes": element_codes,
    "commands": commands,
    "fault-points": fault_points,
}


def written(page: str) -> str:
    """The page with its generated parts as the code has them now. KeyError for a part nobody makes."""
    return PART.sub(lambda found: f"{found[1]}\n{PARTS[found['name']]()}\n{found[3]}", page)


def names(page: str) -> list[str]:
    """The generated parts a page has."""
    return [found["name"] for found in PART.finditer(page)]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for path in sorted(FOLDER.glob("*.md")):
        before = path.read_text("utf-8")
        after = written(before)
        if before != after:
            stale.append(path)
            if not check:
                path.write_text(after, "utf-8")
    for path in stale:
        sys.stdout.write(f"{path.relative_to(ROOT)}: {'out of date' if check else 'written'}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
