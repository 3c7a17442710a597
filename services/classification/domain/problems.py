"""Defects of a rulebook: a code for programs, a place, and a sentence for people in their language."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Pointer = tuple[str | int, ...]

MESSAGES: dict[str, tuple[str, str]] = {
    # code: (es, en); {names} are filled from the defect's values
    "syntax": ("no es YAML válido: {detail}", "not valid YAML: {detail}"),
    "too_large": ("el archivo pasa de {limit} bytes", "the file is larger than {limit} bytes"),
    "alias": ("no se admiten anclas ni alias (& y *)", "anchors and aliases (& and *) are not accepted"),
    "duplicate_key": ("la clave «{key}» está dos veces", "the key '{key}' stands twice"),
    "not_a_mapping": ("se esperaba un conjunto de claves y valores", "expected a set of keys and values"),
    "missing": ("falta «{key}»", "'{key}' is missing"),
    "unknown_key": ("clave desconocida «{key}»", "unknown key '{key}'"),
    "invalid": ("valor no válido: {detail}", "value not valid: {detail}"),
    "invalid_code": (
        "un código lleva minúsculas, cifras, punto, guion o guion bajo, 64 como máximo",
        "a code holds lower case letters, digits, dot, dash or underscore, 64 at most",
    ),
    "reserved_code": ("«unknown» está reservado", "'unknown' is reserved"),
    "duplicate_code": (
        "el código «{code_}» ya se usó en esta sección",
        "the code '{code_}' was already used in this section",
    ),
    "duplicate_name": ("el nombre «{name}» ya lo tiene «{other}»", "the name '{name}' already belongs to '{other}'"),
    "unknown_reference": ("«{value}» no existe en {section}", "'{value}' does not exist in {section}"),
    "cycle": ("ciclo: {path}", "cycle: {path}"),
    "missing_date": ("falta la fecha de inicio de vigencia (since)", "the date in force (since) is missing"),
    "inverted_dates": ("termina ({until}) antes de empezar ({since})", "ends ({until}) before it begins ({since})"),
    "overlapping_dates": (
        "se cruza con la versión {other}, vigente hasta {until}",
        "overlaps version {other}, in force until {until}",
    ),
    "gap_in_dates": (
        "entre {until} y {since} no rige ninguna versión",
        "between {until} and {since} no version is in force",
    ),
    "missing_translation": ("falta el texto en «{language}»", "the text in '{language}' is missing"),
    "unknown_language": ("«{language}» no está en languages", "'{language}' is not among languages"),
    "outlives_norm": (
        "el procedimiento sigue vigente después de la norma «{norm}» ({until})",
        "the procedure stays in force after its norm '{norm}' ({until})",
    ),
    "precedes_norm": (
        "el procedimiento empieza antes que la norma «{norm}» ({since})",
        "the procedure begins before its norm '{norm}' ({since})",
    ),
    "motive_without_procedure": ("ningún procedimiento responde a «{code_}»", "no procedure answers '{code_}'"),
    "missing_component": ("falta el componente «{value}»", "the component '{value}' is missing"),
    "missing_expectation": ("falta la expectativa «{value}»", "the expectation '{value}' is missing"),
    "meaning_changed": (
        "«{code_}» significaba «{before}» en la versión {version}; use un código nuevo",
        "'{code_}' meant '{before}' in version {version}; use a new code",
    ),
    "component_changed": (
        "«{code_}» pertenecía a «{before}» en la versión {version}; use un código nuevo",
        "'{code_}' belonged to '{before}' in version {version}; use a new code",
    ),
    "code_reused": (
        "«{code_}» se retiró en la versión {version} y no se puede volver a usar",
        "'{code_}' was retired in version {version} and cannot be used again",
    ),
    "code_dropped": (
        "«{code_}» está en la versión {version} y aquí no; retírelo con until en vez de borrarlo",
        "'{code_}' is in version {version} and not here; retire it with until instead of deleting it",
    ),
    "unknown_time_zone": ("zona horaria desconocida «{value}»", "unknown time zone '{value}'"),
}


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing wrong with a rulebook, where `pointer` leads (keys and indices from the top)."""

    code: str
    pointer: Pointer
    values: Mapping[str, str] = field(default_factory=dict)
    warning: bool = False  # said, but it does not stand in the way of publishing

    def message(self, language: str) -> str:
        """The sentence in `es` or `en`."""
        es, en = MESSAGES[self.code]
        return (es if language == "es" else en).format(**self.values)
