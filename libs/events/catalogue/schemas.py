"""JSON Schemas (2020-12) and the AsyncAPI 3.0 document of the published language, and what counts as compatible.

    python -m libs.events.catalogue.schemas              write schemas/ again; refuses what breaks a reader or a writer
    python -m libs.events.catalogue.schemas --accept T   take a broken type T as it is now: only before its first release
    python -m libs.events.catalogue.schemas --check      write nothing, exit 1 if something would change

A type is changed by adding optional fields and in no other way; anything else is a new version with an upcaster.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from libs.events import catalogue
from libs.events.catalogue import topics
from libs.events.catalogue.base import EventData

FOLDER = Path(__file__).resolve().parents[3] / "schemas"
DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def schema_of(model: type[EventData]) -> Schema:
    """The JSON Schema of a type's data. Fields about a person carry `x-personal`: in events they hold a sealed text."""
    schema = model.model_json_schema(mode="validation")
    personal = catalogue.personal_fields(model)
    for name in personal:
        schema["properties"][name]["x-personal"] = True
    return {"$schema": DRAFT, "$id": f"urn:lazo:{model.TYPE}", **schema}


def fingerprint(schema: Schema) -> str:
    """A digest of what every event of the type has: required fields and their types, all the way down. Optional fields
    and descriptions may come; this may never change under the same version."""
    return hashlib.sha256(orjson.dumps(_required(schema, schema), option=orjson.OPT_SORT_KEYS)).hexdigest()


# Only these say which values are valid; titles, descriptions and defaults do not.
_BOUNDS = ("const", "format", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_SIZES = ("minLength", "maxLength", "minItems", "maxItems", "uniqueItems")


def _resolved(schema: Any, root: Schema) -> Any:
    while isinstance(schema, dict) and "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _required(schema: Any, root: Schema) -> Any:
    schema = _resolved(schema, root)
    if not isinstance(schema, dict):
        return schema
    shape: Schema = {name: schema[name] for name in ("type", *_BOUNDS, *_SIZES) if name in schema}
    if "enum" in schema:
        shape["enum"] = sorted(map(str, schema["enum"]))
    if "properties" in schema:
        wanted = schema.get("required", [])
        shape["properties"] = {name: _required(schema["properties"][name], root) for name in sorted(wanted)}
    for name in ("items", "additionalProperties"):
        if name in schema:
            shape[name] = _required(schema[name], root)
    if "anyOf" in schema:
        parts = [_required(part, root) for part in schema["anyOf"]]
        shape["anyOf"] = sorted(parts, key=lambda part: orjson.dumps(part, option=orjson.OPT_SORT_KEYS))
    return shape


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """What breaks between two schemas of one version: readers of `new` on old data, readers of `old` on new data."""
    return list(_differences(old, old, new, new, "data"))


def _differences(old: Any, old_root: Schema, new: Any, new_root: Schema, where: str) -> Iterator[str]:
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if old != new:
            yield f"{where}: was {old}, is {new}"
        return
    for name in ("type", *_BOUNDS, *_SIZES):
        if old.get(name) != new.get(name):
            yield f"{where}: {name} was {old.get(name)}, is {new.get(name)}"
    before, after = set(map(str, old.get("enum", []))), set(map(str, new.get("enum", [])))
    if gone := before - after:
        yield f"{where}: {', '.join(sorted(gone))} no longer allowed: what was written before is refused"
    if before != after and (come := after - before):
        yield f"{where}: {', '.join(sorted(come))} is new: readers of the version before refuse it"
    yield from _properties(old, old_root, new, new_root, where)
    for name, place in (("items", "[]"), ("additionalProperties", "{}")):
        if (name in old) != (name in new):
            yield f"{where}{place}: was {old.get(name)}, is {new.get(name)}"
        elif name in old:
            yield from _differences(old[name], old_root, new[name], new_root, where + place)
    yield from _alternatives(old, old_root, new, new_root, where)


def _properties(old: Schema, old_root: Schema, new: Schema, new_root: Schema, where: str) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    needed_before, needed_after = set(old.get("required", [])), set(new.get("required", []))
    for name in before:
        place = f"{where}.{name}"
        if name not in after:
            yield f"{place}: removed: readers of the version before miss it"
            continue
        if name in needed_before - needed_after:
            yield f"{place}: was required, is optional: readers of the version before need it"
        if name in needed_after - needed_before:
            yield f"{place}: was optional, is required: what was written before may lack it"
        if before[name].get("x-personal", False) != after[name].get("x-personal", False):
            yield f"{place}: sealed in one version and not in the other"
        yield from _differences(before[name], old_root, after[name], new_root, place)
    for name in needed_after - set(before):
        yield f"{where}.{name}: new and required: what was written before lacks it"


def _alternatives(old: Schema, old_root: Schema, new: Schema, new_root: Schema, where: str) -> Iterator[str]:
    before, after = old.get("anyOf", []), new.get("anyOf", [])
    if len(before) != len(after):
        yield f"{where}: had {len(before)} alternatives, has {len(after)}"
        return
    for one, other in zip(before, after, strict=True):
        yield from _differences(one, old_root, other, new_root, where)


def unknown_fields(model: type[EventData], data: Mapping[str, Any]) -> list[str]:
    """Fields of `data` that the type does not have. Readers pass over them; a writer that adds one has lost a fact."""
    schema = schema_of(model)
    return list(_unknown(data, schema, schema, ""))


def _unknown(value: Any, schema: Any, root: Schema, where: str) -> Iterator[str]:
    schema = _resolved(schema, root)
    if not isinstance(schema, dict):
        return
    for part in schema.get("anyOf", []):
        part = _resolved(part, root)
        if part.get("type") == ("object" if isinstance(value, Mapping) else "array"):
            yield from _unknown(value, part, root, where)
    if isinstance(value, Mapping) and "properties" in schema:
        for name, inner in value.items():
            if name not in schema["properties"]:
                yield f"{where}{name}"
            else:
                yield from _unknown(inner, schema["properties"][name], root, f"{where}{name}.")
    elif isinstance(value, Mapping) and isinstance(schema.get("additionalProperties"), dict):
        for name, inner in value.items():
            yield from _unknown(inner, schema["additionalProperties"], root, f"{where}{name}.")
    elif isinstance(value, list) and "items" in schema:
        for index, inner in enumerate(value):
            yield from _unknown(inner, schema["items"], root, f"{where}{index}.")


# The AsyncAPI document -------------------------------------------------------------------------------------------------

_HEADERS: dict[str, tuple[str, bool]] = {
    "ce_specversion": ("1.0", True),
    "ce_id": ("unique among the events of a source", True),
    "ce_type": ("the type, with its version", True),
    "ce_source": ("the service that owns the fact, /lazo/<service>", True),
    "ce_subject": ("the stream, e.g. case/<id>", True),
    "ce_time": ("when it happened, RFC 3339 in UTC", True),
    "ce_recordedtime": ("when Lazo knew, RFC 3339 in UTC", True),
    "ce_partitionkey": ("equal to the record's key", True),
    "ce_correlationid": ("id of the event at the beginning of the chain of causes", True),
    "ce_causationid": ("id of the event that led to this one", False),
    "ce_traceparent": ("W3C trace context of the request at the beginning", False),
    "ce_sequence": ("position in the owner's store, 20 digits", True),
    "ce_streamversion": ("1-based place in the stream", True),
    "ce_chainhash": ("<place>.<SHA-256>: the record's place in the partition's chain of hashes", False),
    "content-type": ("application/json", True),
}

_KEYS = {
    topics.INTERACTIONS: "customer id (a pseudonym)",
    topics.CLASSIFICATIONS: "customer id (a pseudonym)",
    topics.FINDINGS: "finding id",
    topics.FEEDBACK: "customer id (a pseudonym)",
    topics.RULEBOOK: "section of the rulebook",
}


def asyncapi() -> Schema:
    """The AsyncAPI 3.0.0 document of all topics. Payload schemas are referred to, not repeated."""
    by_topic: dict[str, list[type[EventData]]] = {topic: [] for topic in topics.ALL}
    for _, model in sorted(catalogue.types().items()):
        by_topic.setdefault(model.TOPIC, []).append(model)
    channels, operations, messages = {}, {}, {}
    for topic, models in by_topic.items():
        name, owner = topic.replace(".", "-"), topics.OWNER[topic]
        channels[name] = {
            "address": topic,
            "description": f"Written by {owner} alone.",
            "messages": {model.TYPE: {"$ref": f"#/components/messages/{model.TYPE}"} for model in models},
            "bindings": {
                "kafka": {
                    "topic": topic,
                    "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": -1},
                    "bindingVersion": "0.5.0",
                }
            },
        }
        for action, who in (("send", owner), ("receive", "anyone")):
            operations[f"{who}-{action}s-{name}"] = {
                "action": action,
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": f"{owner} publishes" if action == "send" else "Read with isolation.level=read_committed.",
            }
        for model in models:
            messages[model.TYPE] = _message(model, topic)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lazo events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0.2 in the binary form on Kafka. Types change by optional fields only; "
            "readers pass over fields they do not know.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "messageTraits": {"cloudevent": {"headers": _headers()}},
            "correlationIds": {"correlation": {"location": "$message.header#/ce_correlationid"}},
        },
    }


def _headers() -> Schema:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, (text, _) in sorted(_HEADERS.items())},
        "required": sorted(name for name, (_, needed) in _HEADERS.items() if needed),
    }


def _message(model: type[EventData], topic: str) -> Schema:
    return {
        "name": model.TYPE,
        "summary": (model.__doc__ or model.__name__).strip().partition("\n")[0],
        "contentType": "application/json",
        "traits": [{"$ref": "#/components/messageTraits/cloudevent"}],
        "correlationId": {"$ref": "#/components/correlationIds/correlation"},
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./events/{model.TYPE}.json"},
        },
        "bindings": {"kafka": {"key": {"type": "string", "description": _KEYS[topic]}, "bindingVersion": "0.5.0"}},
    }


# Files ------------------------------------------------------------------------------------------------------------------


def _pretty(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def files(fingerprints: Mapping[str, str]) -> dict[str, bytes]:
    """Every generated file by its path under `schemas/`; fingerprints that are known stay as they are."""
    made: dict[str, bytes] = {"asyncapi.json": _pretty(asyncapi())}
    known = dict(fingerprints)
    for name, model in sorted(catalogue.types().items()):
        schema = schema_of(model)
        made[f"events/{name}.json"] = _pretty(schema)
        known.setdefault(name, fingerprint(schema))
    made["fingerprints.json"] = _pretty(dict(sorted(known.items())))
    return made


def committed_fingerprints(folder: Path = FOLDER) -> dict[str, str]:
    """The fingerprints as committed; empty before the first."""
    path = folder / "fingerprints.json"
    found: dict[str, str] = orjson.loads(path.read_bytes()) if path.exists() else {}
    return found


def breaks(folder: Path = FOLDER) -> dict[str, list[str]]:
    """By type: what breaks between the committed schemas and the models as they are now, both directions, and types that
    are gone. Empty when all is well."""
    found: dict[str, list[str]] = {}
    fingerprints, models = committed_fingerprints(folder), catalogue.types()
    for name in sorted(fingerprints.keys() - models.keys()):
        found[name] = ["removed: the log still holds events of it"]
    for name, model in sorted(models.items()):
        path, schema = folder / "events" / f"{name}.json", schema_of(model)
        problems = incompatibilities(orjson.loads(path.read_bytes()), schema) if path.exists() else []
        if name in fingerprints and fingerprints[name] != fingerprint(schema):
            problems.append("changed in place: its required fields or their types are not what was committed")
        if problems:
            found[name] = problems
    return found


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """The command; 0 done, 1 refused."""
    parser = argparse.ArgumentParser(prog="python -m libs.events.catalogue.schemas")
    parser.add_argument("--accept", metavar="TYPE", action="append", default=[])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    refused = {name: problems for name, problems in breaks(folder).items() if name not in options.accept}
    for name, problems in refused.items():
        for problem in problems:
            sys.stderr.write(f"{name}: {problem}\n")
    if refused:
        sys.stderr.write("Nothing was written. A change like this is a new version with an upcaster.\n")
        return 1
    known = {name: value for name, value in committed_fingerprints(folder).items() if name not in options.accept}
    made = files(known)
    present = {str(path.relative_to(folder)) for path in folder.rglob("*.json")}
    changed = [name for name, body in made.items() if name not in present or (folder / name).read_bytes() != body]
    gone = sorted(present - made.keys())
    if not options.check:
        for name in changed:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(made[name])
        for name in gone:
            (folder / name).unlink()
    for name in [*changed, *gone]:
        sys.stdout.write(f"{name}\n")
    return 1 if options.check and (changed or gone) else 0


if __name__ == "__main__":
    sys.exit(main())
