"""The API reference as one page: rendered from the OpenAPI document, no script, nothing from elsewhere, so it works under
`default-src 'self'` and without internet (FastAPI's own pages load theirs from a content network)."""

import html
from typing import Any

from libs.service.http.problems import Language

_WORDS: dict[str, tuple[str, str]] = {
    "parameters": ("Parameters", "Parámetros"),
    "body": ("Body", "Cuerpo"),
    "answers": ("Answers", "Respuestas"),
    "schemas": ("Schemas", "Esquemas"),
    "required": ("required", "obligatorio"),
    "scope": ("needs a key", "necesita una llave"),
    "document": ("OpenAPI document", "Documento OpenAPI"),
    "field": ("Field", "Campo"),
    "type": ("Type", "Tipo"),
    "meaning": ("Meaning", "Significado"),
}

STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } summary code { font-weight: 600; } :target { outline: 2px solid; }
.method { display: inline-block; min-width: 4.2rem; font: 600 .85rem ui-monospace, monospace; }
.note { opacity: .75; font-size: .9rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; } th, td { text-align: left; vertical-align: top;
 padding: .25rem .5rem .25rem 0; border-bottom: 1px solid var(--line); }
pre { background: var(--soft); padding: .6rem; overflow-x: auto; border-radius: .4rem; white-space: pre-wrap; }
"""


def reference_page(document: dict[str, Any], *, language: Language, style_url: str, document_url: str) -> str:
    """The page. Everything in the document is escaped."""

    def word(name: str) -> str:
        return _WORDS[name][1 if language == "es" else 0]

    info = document["info"]
    parts = [
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{_text(info["title"])}</title><link rel="stylesheet" href="{_text(style_url)}"></head><body><main>',
        f"<h1>{_text(info['title'])} <small>{_text(info['version'])}</small></h1>",
        f"<p>{_text(info.get('description', ''))}</p>",
        f'<p><a href="{_text(document_url)}">{word("document")}</a></p>',
    ]
    groups: dict[str, list[str]] = {}
    for path, operations in document.get("paths", {}).items():
        for method, operation in operations.items():
            group = (operation.get("tags") or [""])[0]
            groups.setdefault(group, []).append(_operation(path, method, operation, word))
    for group, rendered in groups.items():
        if group:
            parts.append(f"<h2>{_text(group)}</h2>")
        parts.extend(rendered)
    schemas = document.get("components", {}).get("schemas", {})
    if schemas:
        parts.append(f"<h2>{word('schemas')}</h2>")
        parts.extend(_schema(name, schema, word) for name, schema in sorted(schemas.items()))
    parts.append("</main></body></html>")
    return "".join(parts)


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _operation(path: str, method: str, operation: dict[str, Any], word: Any) -> str:
    anchor = _text(operation.get("operationId", f"{method}{path}"))
    lock = f' <span class="note">· {word("scope")}</span>' if operation.get("security") else ""
    parts = [
        f'<details id="{anchor}"><summary><span class="method">{_text(method.upper())}</span> <code>{_text(path)}</code> ',
        f'<span class="note">{_text(operation.get("summary", ""))}</span>{lock}</summary>',
    ]
    if operation.get("description"):
        parts.append(f"<pre>{_text(operation['description'])}</pre>")
    rows = [
        (f"{item['name']} <span class=note>({_text(item['in'])}{', ' + word('required') if item.get('required') else ''})</span>",
         _type(item.get("schema", {})), _text(item.get("description", "")))
        for item in operation.get("parameters", [])
    ]  # fmt: skip
    if rows:
        parts.append(_table(word("parameters"), rows, word))
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>{word('body')}: <code>{_text(media)}</code> {_type(content.get('schema', {}))}</p>")
    answers = [
        (f"<code>{_text(status)}</code>", ", ".join(_type(c.get("schema", {})) for c in answer.get("content", {}).values()),
         _text(answer.get("description", "")))
        for status, answer in operation.get("responses", {}).items()
    ]  # fmt: skip
    if answers:
        parts.append(_table(word("answers"), answers, word))
    parts.append("</details>")
    return "".join(parts)


def _schema(name: str, schema: dict[str, Any], word: Any) -> str:
    required = set(schema.get("required", ()))
    rows = [
        (
            f"<code>{_text(field)}</code>{' *' if field in required else ''}",
            _type(inner),
            _text(inner.get("description", "")),
        )
        for field, inner in schema.get("properties", {}).items()
    ]
    body = _table("", rows, word) if rows else f"<p>{_type(schema)}</p>"
    described = f"<p>{_text(schema['description'])}</p>" if schema.get("description") else ""
    return (
        f'<details id="schema-{_text(name)}"><summary><code>{_text(name)}</code></summary>{described}{body}</details>'
    )


def _table(caption: str, rows: list[tuple[str, str, str]], word: Any) -> str:
    head = f"<tr><th>{word('field')}</th><th>{word('type')}</th><th>{word('meaning')}</th></tr>"
    body = "".join(f"<tr><td>{a}</td><td>{b}</td><td>{c}</td></tr>" for a, b, c in rows)
    return f"<table>{f'<caption>{caption}</caption>' if caption else ''}{head}{body}</table>"


def _type(schema: Any) -> str:
    if not isinstance(schema, dict):
        return ""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f'<a href="#schema-{_text(name)}">{_text(name)}</a>'
    for joint in ("anyOf", "oneOf", "allOf"):
        if joint in schema:
            return " | ".join(_type(inner) for inner in schema[joint])
    if "enum" in schema:
        return " | ".join(f"<code>{_text(value)}</code>" for value in schema["enum"])
    kind = schema.get("type", "")
    if kind == "array":
        return f"[{_type(schema.get('items', {}))}]"
    name = f"{kind} ({schema['format']})" if "format" in schema else str(kind)
    if "const" in schema:
        return f"<code>{_text(schema['const'])}</code>"
    return _text(name)
