"""The OpenAPI document as things are: FastAPI describes its own errors, ours are problem documents (RFC 9457)."""

from typing import Any

from fastapi import FastAPI

from libs.service.http.problems import MEDIA_TYPE

_TEXT = {"type": "string"}
_SCHEMA = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457). Programs go by `code` and `errors[].code`.",
    "type": "object",
    "required": ["type", "title", "status", "code", "errors"],
    "properties": {
        "type": {**_TEXT, "description": "urn:lazo:problem:<code>"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "code": _TEXT,
        "detail": {**_TEXT, "description": "what it was this time, in the reader's language"},
        "instance": {**_TEXT, "description": "the request's id, which stands in the log too"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "detail"],
                "properties": {
                    "pointer": {
                        **_TEXT,
                        "description": "JSON pointer into the body; /query/… and /headers/… elsewhere",
                    },
                    "code": _TEXT,
                    "detail": _TEXT,
                },
            },
        },
    },
}
_ANSWER = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_FASTAPIS = ("HTTPValidationError", "ValidationError")


def described(app: FastAPI) -> dict[str, Any]:
    """The document of this app; made once, corrected once."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    document = app.openapi()
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FASTAPIS:
        schemas.pop(name, None)
    schemas["Problem"] = _SCHEMA
    for operations in document.get("paths", {}).values():
        for operation in operations.values():
            _correct(operation)
    return document


def _correct(operation: dict[str, Any]) -> None:
    answers = operation.setdefault("responses", {})
    answers.pop("422", None)
    if operation.get("security"):
        answers["401"] = {"description": "No key, or none that is live", "content": _ANSWER}
        answers["403"] = {"description": "The key lacks the scope", "content": _ANSWER}
    answers["default"] = {"description": "Anything else that went wrong", "content": _ANSWER}
    # Described by hand and declared as well: the hand knows more. The document allows each once.
    once = {(item["name"], item["in"]): item for item in operation.get("parameters", ())}
    if once:
        operation["parameters"] = list(once.values())
