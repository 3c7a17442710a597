"""Golden files: for each type and version, data as it was when the version was new. They are written once and never edited.

python -m tests.contracts.golden_files      write the files of types that have none, and note their digests
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

import orjson

from libs.events import catalogue
from libs.events.catalogue.base import EventData
from libs.events.catalogue.schemas import Schema, schema_of

FOLDER = Path(__file__).with_name("golden")
DIGESTS = Path(__file__).with_name("golden.sha256")


def sample(model: type[EventData], *, full: bool) -> dict[str, Any]:
    """Data of the type: every field, or the required ones alone. The same for the same model."""
    schema = schema_of(model)
    made: dict[str, Any] = _value(schema, schema, model.TYPE, full=full)
    return made


def _value(schema: Schema, root: Schema, where: str, *, full: bool) -> Any:
    if "$ref" in schema:
        return _value(root["$defs"][schema["$ref"].rpartition("/")[2]], root, where, full=full)
    if "anyOf" in schema:
        if schema.get("x-personal"):
            return "lz1.c2VhbGVk"  # as it is stored: a token, whatever stood there in the clear
        return _value(schema["anyOf"][0], root, where, full=full)
    if "enum" in schema:
        return schema["enum"][len(where) % len(schema["enum"])]
    match schema.get("type"):
        case "object" if "properties" in schema:
            names = schema["properties"] if full else schema.get("required", [])
            return {name: _value(schema["properties"][name], root, f"{where}.{name}", full=full) for name in names}
        case "object":
            inner = schema.get("additionalProperties")
            return {"key": _value(inner, root, where, full=full) if isinstance(inner, dict) else "value"}
        case "array":
            return [_value(schema["items"], root, where, full=full)]
        case "integer":
            return int(schema.get("minimum", 1)) + 1
        case "number":
            return 0.5
        case "boolean":
            return True
        case "string":
            formats = {"date-time": "2026-03-01T14:30:00.123456Z", "date": "2026-03-01"}
            return formats.get(schema.get("format", ""), f"{where.rpartition('.')[2]} ñ")
        case other:
            return {"any": [1, None, "x"]} if other is None else None


def digests() -> dict[str, str]:
    """Digest by file name, as committed."""
    lines = DIGESTS.read_text().splitlines() if DIGESTS.exists() else []
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    known = digests()
    for name, model in sorted(catalogue.types().items()):
        path = FOLDER / f"{name}.json"
        if path.exists():
            continue
        both = {"full": sample(model, full=True), "required": sample(model, full=False)}
        path.write_bytes(orjson.dumps(both, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        known[path.name] = digest(path)
        sys.stdout.write(f"{path.name}\n")
    DIGESTS.write_text("".join(f"{value}  {name}\n" for name, value in sorted(known.items())))


if __name__ == "__main__":
    main()
