"""What readers of JSON and CloudEvents say, in Spanish. Faults are kept as they were found, in English, and told in either.

A reason nobody translated is told as no more than "no se admite": a wrong language helps nobody who asked for this one.
"""

import re

SPANISH: dict[str, str] = {
    # json
    "Expecting value": "se esperaba un valor",
    "Expecting property name enclosed in double quotes": "se esperaba un nombre entre comillas dobles",
    "Expecting ':' delimiter": "se esperaba «:»",
    "Expecting ',' delimiter": "se esperaba «,»",
    "Unterminated string starting at": "texto sin cerrar que empieza en",
    "Extra data": "sobran datos",
    "Invalid \\uXXXX escape": "escape \\uXXXX no válido",
    "Illegal trailing comma before end of object": "coma de más al final de un objeto",
    "Illegal trailing comma before end of array": "coma de más al final de una lista",
    "a number is too long": "un número es demasiado largo",
    # CloudEvents: what follows the attribute's name
    "contains a control character or a code point that is none": "contiene un carácter de control o un punto de código que no lo es",
    "must fit into 32 bits": "debe caber en 32 bits",
    "must be a string, a whole number or a boolean": "debe ser un texto, un entero o un booleano",
    "is no attribute name: lower-case letters and digits only, and not data": "no es nombre de atributo: solo minúsculas y cifras, y no data",
    "must be 1.0": "debe ser 1.0",
    "is missing": "falta",
    "must be a URI reference": "debe ser una referencia URI",
    "must be an absolute URI": "debe ser un URI absoluto",
    "must be a media type, e.g. application/json": "debe ser un tipo de medio, p. ej. application/json",
    "must be an RFC 3339 time with an offset, e.g. 2026-03-01T09:30:00-05:00": "debe ser una hora RFC 3339 con desfase, p. ej. 2026-03-01T09:30:00-05:00",
    "is outside the years 1 to 9999": "está fuera de los años 1 a 9999",
    "is no date or time that exists": "no es una fecha u hora que exista",
    "must be a string": "debe ser un texto",
    "must not be empty": "no puede estar vacío",
    "must be a JSON array of events": "debe ser una lista JSON de eventos",
    "must be application/cloudevents+json or application/cloudevents-batch+json: no other event format is read here": "debe ser application/cloudevents+json o application/cloudevents-batch+json: aquí no se lee otro formato de evento",
    "must have charset utf-8": "debe tener charset utf-8",
    "is not valid JSON in UTF-8": "no es JSON válido en UTF-8",
    "must be a JSON object": "debe ser un objeto JSON",
    "must not stand beside data": "no puede estar junto a data",
    "is not Base64": "no es Base64",
    "is given twice": "está dos veces",
    "travels as Content-Type in the binary form": "viaja como Content-Type en la forma binaria",
    "must be percent-encoded: only ASCII may stand in a header": "debe codificarse con porcentajes: en una cabecera solo cabe ASCII",
    "is not UTF-8 once percent-decoded": "no es UTF-8 una vez decodificados los porcentajes",
}  # fmt: skip
UNKNOWN = "no se admite"
_AT = re.compile(r"(.*), line ([0-9]+) column ([0-9]+)", re.DOTALL)
_EVENT = re.compile(r"event ([0-9]+): (.*)", re.DOTALL)
_PATTERNS = (
    (re.compile(r"(\S+) is no JSON number"), r"\1 no es un número JSON"),
    (re.compile(r"Invalid control character (.*) at", re.DOTALL), r"carácter de control \1 no válido"),
    (re.compile(r"Invalid control character at"), "carácter de control no válido"),
    (re.compile(r"Invalid \\escape(?:: (.*))?", re.DOTALL), "escape no válido"),
)


def in_spanish(reason: str) -> str:
    """The reason of a fault in Spanish."""
    if (found := _AT.fullmatch(reason)) is not None:
        return f"{in_spanish(found[1])}, línea {found[2]} columna {found[3]}"
    if (found := _EVENT.fullmatch(reason)) is not None:
        return f"evento {found[1]}: {in_spanish(found[2])}"
    if reason in SPANISH:
        return SPANISH[reason]
    for pattern, spanish in _PATTERNS:
        if (found := pattern.fullmatch(reason)) is not None:
            return found.expand(spanish)
    attribute, _, why = reason.partition(" ")
    return f"{attribute} {SPANISH[why]}" if why in SPANISH else UNKNOWN
