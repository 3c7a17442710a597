"""What the API reference says about bodies that FastAPI does not parse itself."""

from typing import Any

from pydantic import TypeAdapter

from services.intake.domain import case_updates, interactions

_EFFECTS: list[dict[str, Any]] = [
    {
        "name": "effects",
        "in": "query",
        "required": False,
        "schema": {"type": "string", "enum": ["live", "history"], "default": "live"},
    }
]
_EXAMPLE = {
    "source": "crm",
    "external_id": "T-1042",
    "kind": "claim",
    "channel": "web",
    "occurred_at": "2026-03-31T14:05:00-05:00",
    "customer": {"id": "88213", "email": "ana@example.org", "phone": "+573001234567"},
    "text": "Me cobraron dos veces la misma factura.",
    "product": "internet-hogar",
}


def _body(adapter: TypeAdapter[Any], example: dict[str, Any] | None) -> dict[str, Any]:
    schema = adapter.json_schema(ref_template="#/components/schemas/{model}", mode="validation")
    definitions = schema.pop("$defs", {})
    inlined = _inline(schema, definitions)
    many = {"type": "array", "items": inlined}
    content: dict[str, Any] = {
        "application/json": {"schema": {"oneOf": [inlined, many]}},
        "application/x-ndjson": {"schema": {"type": "string", "description": "one object per line"}},
        "application/cloudevents+json": {"schema": {"type": "object"}},
        "application/cloudevents-batch+json": {"schema": {"type": "array", "items": {"type": "object"}}},
    }
    if example is not None:
        content["application/json"]["example"] = example
    return {"requestBody": {"required": True, "content": content}, "parameters": _EFFECTS}


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return _inline(definitions[reference.rpartition("/")[2]], definitions)
        return {name: _inline(value, definitions) for name, value in schema.items()}
    if isinstance(schema, list):
        return [_inline(value, definitions) for value in schema]
    return schema


INTERACTIONS = _body(interactions.ADAPTER, _EXAMPLE)
CASE_UPDATES = _body(case_updates.ADAPTER, None)
