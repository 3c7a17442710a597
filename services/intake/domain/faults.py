"""What can be wrong with one element, said by pointer, code and a sentence in Spanish or English."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.intake.domain.reasons import in_spanish


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `pointer` is an RFC 6901 pointer relative to the element, "" for the element itself."""

    pointer: str
    code: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def at(self, prefix: str) -> "Fault":
        """The same fault seen from outside: `/customer` of element 3 is `/3/customer`."""
        return Fault(prefix + self.pointer, self.code, self.values) if prefix else self

    def entry(self, language: str) -> dict[str, str]:
        """The `errors[]` entry of a problem document."""
        return {"pointer": self.pointer, "code": self.code, "detail": sentence(self.code, language, self.values)}


class Refused(Exception):
    """The element is not a fact intake can keep; every fault that was found is listed."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.code}" for fault in faults))
        self.faults = faults


# code: (Spanish, English). Each says what is wrong and, where there is one, the remedy.
SENTENCES: dict[str, tuple[str, str]] = {
    "missing": ("Falta este campo obligatorio.", "This required field is missing."),
    "unknown-field": (
        "Campo desconocido{hint}. Los datos propios van en «attributes».",
        "Unknown field{hint}. Data of your own belongs in `attributes`.",
    ),
    "wrong-type": ("Debe ser {expected}.", "Must be {expected}."),
    "too-long": ("Más de {limit} caracteres.", "Longer than {limit} characters."),
    "too-short": ("No puede estar vacío.", "Must not be empty."),
    "too-many": ("Más de {limit} elementos.", "More than {limit} entries."),
    "not-allowed": ("Valor no admitido; use uno de: {allowed}.", "Not an allowed value; use one of: {allowed}."),
    "invalid-id": (
        "Solo se admiten caracteres visibles, sin saltos de línea ni caracteres de control.",
        "Only visible characters; no line breaks or control characters.",
    ),
    "invalid-date": (
        "No es una fecha RFC 3339; ejemplo: 2026-03-31T14:05:00-05:00.",
        "Not an RFC 3339 date-time; an example: 2026-03-31T14:05:00-05:00.",
    ),
    "zone-missing": (
        "Falta la zona horaria; termine en Z o en un desfase como -05:00.",
        "The time zone is missing; end with Z or with an offset such as -05:00.",
    ),
    "in-future": (
        "Está en el futuro: se admite como máximo {latest}.",
        "Lies in the future: the latest accepted is {latest}.",
    ),
    "too-early": (
        "Anterior a {earliest}: parece una fecha vacía (1900 y 1970 suelen significar «sin dato»).",
        "Before {earliest}: looks like an empty date (1900 and 1970 often stand for no value).",
    ),
    "invalid-language": (
        "No es una etiqueta BCP 47; ejemplos: es, es-CO, pt-BR (con guion, no guion bajo).",
        "Not a BCP 47 tag; examples: es, es-CO, en-GB (hyphen, not underscore).",
    ),
    "invalid-email": ("No es una dirección de correo.", "Not an e-mail address."),
    "invalid-phone": (
        "No es un número de teléfono; ejemplo: +573001234567.",
        "Not a telephone number; an example: +573001234567.",
    ),
    "invalid-amount": (
        'Debe ser un número decimal como texto, por ejemplo "12.50".',
        'Must be a decimal number as text, for example "12.50".',
    ),
    "invalid-currency": ("No es un código ISO 4217; ejemplo: COP.", "Not an ISO 4217 code; an example: COP."),
    "not-flat": (
        "Solo se admiten textos, números, verdadero/falso o null; sin listas ni objetos anidados.",
        "Only text, numbers, true/false or null; no nested lists or objects.",
    ),
    "not-finite": ("NaN e infinito no son números JSON.", "NaN and infinity are not JSON numbers."),
    "customer-unidentified": (
        "El cliente necesita «id» o al menos un identificador (email, phone, document …).",
        "The customer needs `id` or at least one identifier (email, phone, document …).",
    ),
    "nothing-said": (
        "Se requiere al menos uno de: text, subject, declared_motive.",
        "At least one of these is required: text, subject, declared_motive.",
    ),
    "nul-character": ("Contiene el carácter NUL (\\u0000).", "Contains the NUL character (\\u0000)."),
    "surrogate": (
        "Contiene medio par sustituto Unicode; envíe UTF-8 válido.",
        "Contains half of a Unicode surrogate pair; send valid UTF-8.",
    ),
    "duplicate-member": (
        "El miembro «{name}» aparece dos veces en el mismo objeto; no se puede saber cuál vale.",
        "The member `{name}` occurs twice in the same object; which one counts cannot be known.",
    ),
    "invalid-json": ("No es JSON válido: {reason}.", "Not valid JSON: {reason}."),
    "invalid-utf8": (
        "No es UTF-8 válido (byte {position}); recodifique antes de enviar.",
        "Not valid UTF-8 (byte {position}); re-encode before sending.",
    ),
    "too-deep": ("Anidado más de {limit} niveles.", "Nested deeper than {limit} levels."),
    "not-an-object": ("Cada elemento debe ser un objeto JSON.", "Each element must be a JSON object."),
    "empty-body": (
        "El cuerpo está vacío; envíe al menos un elemento.",
        "The body is empty; send at least one element.",
    ),
    "unknown-source": (
        "No hay una fuente «{source}»; regístrela con POST /intake/v1/sources.",
        "There is no source `{source}`; register it with POST /intake/v1/sources.",
    ),
    "inactive-source": (
        "La fuente «{source}» está inactiva; actívela con PATCH /intake/v1/sources/{source}.",
        "The source `{source}` is inactive; activate it with PATCH /intake/v1/sources/{source}.",
    ),
    "foreign-source": (
        "Esta clave solo puede enviar a nombre de la fuente «{bound}».",
        "This key may only send for the source `{bound}`.",
    ),
    "different-content": (
        "Ya existía con otro contenido. Se conserva el primer hecho; para corregirlo envíe otro con un external_id nuevo.",
        "Already known with other content. The first fact is kept; to correct it send another with a new external_id.",
    ),
    "unreadable-event": ("No es un CloudEvent 1.0 legible: {reason}.", "Not a readable CloudEvent 1.0: {reason}."),
    "invalid-source-id": (
        "Solo minúsculas, cifras, punto, guion y guion bajo; empieza por letra o cifra; hasta 64.",
        "Only lower-case letters, digits, dot, hyphen and underscore; starts with a letter or digit; up to 64.",
    ),
    "unknown-default": (
        "Solo se pueden predefinir: {allowed}.",
        "Only these can have a default: {allowed}.",
    ),
    "invalid-region": (
        "No es un código de país ISO 3166 de dos letras; ejemplo: CO.",
        "Not a two-letter ISO 3166 country code; an example: CO.",
    ),
    "meaningless": (
        "No contiene letras ni cifras.",
        "Holds no letter and no digit.",
    ),
    "invalid-value": ("Valor no válido: {reason}.", "Not a valid value: {reason}."),
}

EXPECTED: dict[str, tuple[str, str]] = {
    "string": ("un texto", "text"),
    "number": ("un número", "a number"),
    "boolean": ("verdadero o falso", "true or false"),
    "object": ("un objeto", "an object"),
    "list": ("una lista", "a list"),
    "value": ("otro tipo de valor", "another type of value"),
}

TITLES: dict[str, tuple[str, str]] = {
    "refused": ("Elemento rechazado", "Element refused"),
    "all-refused": ("Ningún elemento es válido", "No element is valid"),
    "different-content": ("Mismo identificador, otro contenido", "Same identifier, other content"),
}


def sentence(code: str, language: str, values: Mapping[str, Any] | None = None) -> str:
    """The sentence for a code in "es" or "en"; a code without a sentence raises KeyError."""
    column = 0 if language.startswith("es") else 1
    known = dict(values or {})
    if "expected" in known:
        known["expected"] = EXPECTED[known["expected"]][column]
    if "reason" in known and column == 0:
        known["reason"] = in_spanish(str(known["reason"]))
    if "hint" in known:
        hint = known["hint"]
        known["hint"] = (
            "" if not hint else (f"; ¿quiso decir «{hint}»?" if column == 0 else f"; did you mean `{hint}`?")
        )
    return SENTENCES[code][column].format(**known)


def title(name: str, language: str) -> str:
    """The title of a problem type, constant per type and language."""
    return TITLES[name][0 if language.startswith("es") else 1]


def problem(name: str, status: int, language: str, faults: tuple[Fault, ...] | list[Fault]) -> dict[str, Any]:
    """An RFC 9457 problem of one element or of a whole request."""
    entries = [fault.entry(language) for fault in faults]
    return {
        "type": f"urn:lazo:problem:{name}",
        "code": name,
        "title": title(name, language),
        "status": status,
        "detail": entries[0]["detail"] if entries else title(name, language),
        "errors": entries,
    }
