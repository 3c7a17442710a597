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
    "empty_text": ("el texto está vacío", "the text is empty"),
    "long_text": ("el texto pasa de 2000 caracteres", "the text is longer than 2000 characters"),
    "not_text": ("se esperaba un texto; entre comillas lo es todo", "expected a text; in quotes anything is one"),
    "not_a_date": ("se esperaba una fecha que exista, AAAA-MM-DD", "expected a date that exists, YYYY-MM-DD"),
    "not_yes_or_no": ("se esperaba true o false", "expected true or false"),
    "not_whole": ("se esperaba un número entero", "expected a whole number"),
    "not_a_number": ("se esperaba un número", "expected a number"),
    "not_a_list": ("se esperaba una lista", "expected a list"),
    "empty_list": ("la lista está vacía", "the list is empty"),
    "not_among": ("debe ser uno de estos: {values}", "has to be one of these: {values}"),
    "out_of_bounds": ("debe ser {bound}", "has to be {bound}"),
    "invalid_language": (
        "un idioma se escribe con dos letras minúsculas, como es o en",
        "a language is written in two lower case letters, as es or en",
    ),
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
    "outlives_policy": (
        "el procedimiento sigue vigente después de la política «{policy}» ({until})",
        "the procedure stays in force after its policy '{policy}' ({until})",
    ),
    "precedes_policy": (
        "el procedimiento empieza antes que la política «{policy}» ({since})",
        "the procedure begins before its policy '{policy}' ({since})",
    ),
    "successor_without_end": (
        "«{code_}» nombra un sucesor pero no dice hasta cuándo rige (until)",
        "'{code_}' names a successor but not until when it stands (until)",
    ),
    "two_endings": (
        "«{code_}» lleva successor y becomes: un código termina de una sola manera",
        "'{code_}' has successor and becomes: a code ends in one way only",
    ),
    "shares_not_whole": (
        "las partes (share) deben estar todas y sumar 1; suman {sum}",
        "the shares have to be all there and add up to 1; they add up to {sum}",
    ),
    "crosswalk_changed": (
        "a dónde va «{code_}» quedó dicho en la versión {version} y no se puede cambiar",
        "where '{code_}' goes was said in version {version} and cannot be changed",
    ),
    "no_successor": (
        "«{code_}» se retira sin decir qué lo reemplaza (successor o becomes)",
        "'{code_}' is retired without saying what replaces it (successor or becomes)",
    ),
    "procedure_ends": (
        "el procedimiento que responde a «{code_}» termina y ninguno sigue",
        "the procedure that answers '{code_}' ends and none follows",
    ),
    "factor_of_another": (
        "el factor «{factor}» es del componente «{component}»",
        "the factor '{factor}' belongs to the component '{component}'",
    ),
    "unknown_kind": (
        "«{value}» no es un tipo de contacto (complaint, claim, request, inquiry, suggestion, compliment, unknown)",
        "'{value}' is no kind of contact (complaint, claim, request, inquiry, suggestion, compliment, unknown)",
    ),
    "unknown_field": ("un contacto no tiene el campo «{value}»", "a contact has no field '{value}'"),
    "unknown_channel": ("no hay un canal «{value}»", "there is no channel '{value}'"),
    "unknown_severity": (
        "la gravedad es low, medium o high, no «{value}»",
        "a severity is low, medium or high, not '{value}'",
    ),
    "duplicate_rank": ("el orden {value} ya está dado", "the rank {value} is already given"),
    "route_never_reached": (
        "a «{code_}» no llega nada: una ruta anterior lo toma todo",
        "nothing reaches '{code_}': a route before it takes everything",
    ),
    "unforeseen_without_route": (
        "ninguna ruta recibe lo no previsto: falta una última sin condiciones",
        "no route takes what nobody foresaw: a last one without conditions is missing",
    ),
    "motive_without_route": ("ninguna ruta lleva «{code_}» a un equipo", "no route leads '{code_}' to a team"),
    "promise_without_pillars": ("la promesa «{code_}» no tiene pilares", "the promise '{code_}' has no pillars"),
    "pillar_without_standard": (
        "el pilar «{code_}» no tiene un estándar que se pueda verificar",
        "the pillar '{code_}' has no standard that can be checked",
    ),
    "not_checkable": (
        "no se puede verificar: hace falta measure y uno solo de at_most o at_least",
        "cannot be checked: it takes measure and exactly one of at_most and at_least",
    ),
    "agreement_unit": (
        "una tasa acordada dice entre qué se divide (unit): {values}",
        "a rate that was agreed on says what it is divided by (unit): {values}",
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
    "codes_dropped": (
        "{count} códigos de la versión {version} no están aquí ({codes} …); retírelos con until en vez de borrarlos",
        "{count} codes of version {version} are not here ({codes} …); retire them with until instead of deleting them",
    ),
    "other_book": (
        "lo publicado es «{before}» y esto es «{now}»; ¿es el archivo que quería?",
        "what was published is '{before}' and this is '{now}'; is it the file you meant?",
    ),
    "unknown_time_zone": ("zona horaria desconocida «{value}»", "unknown time zone '{value}'"),
}


SPANISH = {
    # what the YAML reader says, in its English, and ours
    "did not find expected ',' or '}'": "falta una coma o una llave que cierra }",
    "did not find expected ',' or ']'": "falta una coma o un corchete que cierra ]",
    "did not find expected key": "se esperaba una clave; ¿está bien la sangría?",
    "did not find expected '-' indicator": "se esperaba un guion de lista; ¿está bien la sangría?",
    "did not find expected node content": "se esperaba un valor",
    "could not find expected ':'": "faltan los dos puntos después de la clave",
    "mapping values are not allowed in this context": "aquí no puede haber dos puntos; ponga el texto entre comillas",
    "block sequence entries are not allowed in this context": "aquí no puede empezar una lista",
    "found a tab character that violates indentation": "la sangría lleva espacios, no tabuladores",
    "found character that cannot start any token": "un valor no puede empezar así; póngalo entre comillas",
    "found unexpected end of stream": "el archivo termina antes de cerrar las comillas",
    "found unknown escape character": "escape desconocido dentro de las comillas",
    "expected a single document in the stream": "hay más de un documento en el archivo",
    "control characters are not allowed": "hay caracteres de control",
    "nested too deep": "demasiados niveles",
    "key": "clave",
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
        if language != "es":
            return en.format(**self.values)
        return es.format(**{name: SPANISH.get(value, value) for name, value in self.values.items()})
