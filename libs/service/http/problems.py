"""Problem documents (RFC 9457): every error of every service, in the reader's language, naming the field."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from libs.service.words import Language as Language
from libs.service.words import Words as Words
from libs.service.words import joined as joined
from libs.service.words import one_of as one_of
from libs.service.words import said as said

MEDIA_TYPE = "application/problem+json"
STARTING = Words("the service is starting", "el servicio está arrancando")

# code -> (English, Spanish). The code is what programs go by: it never changes; `type` is urn:lazo:problem:<code>.
TITLES: dict[str, tuple[str, str]] = {
    "bad-request": ("The request cannot be understood", "No se entiende la solicitud"),
    "bad-json": ("The body is not valid JSON", "El cuerpo no es JSON válido"),
    "bad-encoding": ("The body is not valid UTF-8", "El cuerpo no es UTF-8 válido"),
    "empty-body": ("The body is empty", "El cuerpo está vacío"),
    "invalid": ("Some fields are not valid", "Hay campos que no son válidos"),
    "unauthenticated": ("A key is needed", "Se necesita una llave"),
    "forbidden": ("This key may not do that", "Esta llave no permite hacer eso"),
    "csrf": ("The page has expired", "La página expiró"),
    "not-found": ("There is nothing here", "Aquí no hay nada"),
    "method-not-allowed": ("This cannot be done here", "Esto no se puede hacer aquí"),
    "not-acceptable": ("There is no such form of this", "No existe en ese formato"),
    "timeout": ("The body did not arrive in time", "El cuerpo no llegó a tiempo"),
    "conflict": ("This contradicts what is already there", "Esto contradice lo que ya existe"),
    "precondition-failed": ("It has changed in the meantime", "Cambió entretanto"),
    "too-large": ("The body is too large", "El cuerpo es demasiado grande"),
    "unsupported-media-type": ("This form of body is not read here", "Aquí no se lee ese formato"),
    "idempotency-mismatch": (
        "The key was used for another request",
        "La llave de idempotencia ya se usó para otra solicitud",
    ),
    "still-running": ("The same request is still running", "La misma solicitud aún está en curso"),
    "too-many-requests": ("Too many requests", "Demasiadas solicitudes"),
    "internal": ("An error on our side", "Un error de nuestro lado"),
    "unavailable": ("Not available for the moment", "No disponible por el momento"),
    "overloaded": ("Too much at once", "Demasiado a la vez"),
    "bad-cursor": ("The cursor is not one of ours", "El cursor no es válido"),
}

_BY_STATUS = {
    400: "bad-request", 401: "unauthenticated", 403: "forbidden", 404: "not-found", 405: "method-not-allowed",
    406: "not-acceptable", 408: "timeout", 409: "conflict", 412: "precondition-failed", 413: "too-large",
    415: "unsupported-media-type", 422: "invalid", 429: "too-many-requests", 500: "internal", 503: "unavailable",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong: where (JSON pointer), what (a constant), and in words."""

    pointer: str
    code: str
    detail: str

    def document(self, language: Language = "en") -> dict[str, str]:
        return {"pointer": self.pointer, "code": self.code, "detail": said(self.detail, language)}


@dataclass
class Problem(Exception):
    """Raised anywhere below a route; becomes the answer. `code` is a key of TITLES or of `register_titles`."""

    status: int
    code: str = ""
    detail: str = ""
    errors: Sequence[FieldError] = ()
    title: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(f"{self.status} {self.code}: {self.detail}")
        if not self.code:
            self.code = _BY_STATUS.get(self.status, "bad-request" if self.status < 500 else "internal")

    @property
    def type(self) -> str:
        return f"urn:lazo:problem:{self.code}"

    @classmethod
    def field(cls, pointer: str, code: str, detail: str, *, status: int = 422) -> "Problem":
        """One field is wrong."""
        return cls(status, "invalid", detail, (FieldError(pointer, code, detail),))

    @classmethod
    def fields(cls, errors: Iterable[FieldError], *, status: int = 422) -> "Problem":
        """Several fields are wrong."""
        found = tuple(errors)
        return cls(status, "invalid", joined([error.detail for error in found[:3]]), found)

    @classmethod
    def unavailable(cls, detail: str, *, retry_after: int = 1) -> "Problem":
        """Our fault, and it passes: come back in `retry_after` seconds."""
        return cls(503, "unavailable", detail, headers={"Retry-After": str(retry_after)})

    def document(self, language: Language = "en", instance: str | None = None) -> dict[str, Any]:
        """The problem as JSON values; `instance` is the request's id."""
        document: dict[str, Any] = {
            "type": self.type,
            "title": self.title or title_of(self.code, self.status, language),
        }
        document |= {"status": self.status, "code": self.code}
        if self.detail:
            document["detail"] = said(self.detail, language)
        if instance:
            document["instance"] = f"urn:lazo:request:{instance}"
        # Also where no field is to blame: whoever reads `errors` need not ask first whether it is there.
        document["errors"] = [error.document(language) for error in self.errors]
        return document | dict(self.extra)


def title_of(code: str, status: int, language: Language) -> str:
    known = TITLES.get(code)
    if known is None:
        try:
            return HTTPStatus(status).phrase
        except ValueError:
            return code
    return known[1 if language == "es" else 0]


def register_titles(titles: Mapping[str, tuple[str, str]]) -> None:
    """Add a service's own codes: `{code: (English, Spanish)}`."""
    TITLES.update(titles)


def response_of(problem: Problem, language: Language, instance: str | None = None) -> Response:
    headers = {"Content-Language": language, "Cache-Control": "no-store", **problem.headers}
    return Response(orjson.dumps(problem.document(language, instance)), problem.status, headers, MEDIA_TYPE)


def pointer_of(location: Sequence[str | int]) -> str:
    """The JSON pointer (RFC 6901) of a path of names and indexes."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


# pydantic's error types that have a name of ours; the others keep theirs.
_CODES = {
    "missing": "missing",
    "extra_forbidden": "unknown-field",
    "enum": "not-allowed",
    "literal_error": "not-allowed",
}


# What pydantic says, in Spanish; a name in braces is a value of the error's context.
_SPANISH = {
    "missing": "falta",
    "extra_forbidden": "no se conoce este campo",
    "enum": "uno de: {expected}",
    "literal_error": "uno de: {expected}",
    "string_type": "debe ser un texto",
    "string_too_short": "al menos {min_length} caracteres",
    "string_too_long": "a lo sumo {max_length} caracteres",
    "string_pattern_mismatch": "no tiene la forma {pattern}",
    "int_type": "debe ser un número entero",
    "int_parsing": "debe ser un número entero",
    "int_from_float": "debe ser un número entero",
    "float_type": "debe ser un número",
    "float_parsing": "debe ser un número",
    "finite_number": "debe ser un número finito",
    "bool_type": "debe ser verdadero o falso",
    "bool_parsing": "debe ser verdadero o falso",
    "greater_than": "debe ser mayor que {gt}",
    "greater_than_equal": "debe ser {ge} o más",
    "less_than": "debe ser menor que {lt}",
    "less_than_equal": "debe ser {le} o menos",
    "datetime_type": "debe ser una fecha con hora, por ejemplo 2026-03-31T14:05:00-05:00",
    "datetime_parsing": "debe ser una fecha con hora, por ejemplo 2026-03-31T14:05:00-05:00",
    "datetime_from_date_parsing": "debe ser una fecha con hora, por ejemplo 2026-03-31T14:05:00-05:00",
    "timezone_aware": "falta la zona horaria; termine en Z o en un desfase como -05:00",
    "date_type": "debe ser una fecha, por ejemplo 2026-03-31",
    "date_parsing": "debe ser una fecha, por ejemplo 2026-03-31",
    "date_from_datetime_parsing": "debe ser una fecha, por ejemplo 2026-03-31",
    "date_from_datetime_inexact": "debe ser una fecha sin hora",
    "date_past": "debe ser una fecha pasada",
    "date_future": "debe ser una fecha futura",
    "datetime_past": "debe ser un momento pasado",
    "datetime_future": "debe ser un momento futuro",
    "datetime_object_invalid": "debe ser una fecha con hora, por ejemplo 2026-03-31T14:05:00-05:00",
    "timezone_naive": "sobra la zona horaria",
    "timezone_offset": "no tiene el desfase horario que se espera",
    "time_type": "debe ser una hora, por ejemplo 14:05:00",
    "time_parsing": "debe ser una hora, por ejemplo 14:05:00",
    "time_delta_type": "debe ser una duración",
    "time_delta_parsing": "debe ser una duración",
    "list_type": "debe ser una lista",
    "tuple_type": "debe ser una lista",
    "set_type": "debe ser una lista",
    "frozen_set_type": "debe ser una lista",
    "iterable_type": "debe ser una lista",
    "too_long": "a lo sumo {max_length} elementos",
    "too_short": "al menos {min_length} elementos",
    "dict_type": "debe ser un objeto",
    "mapping_type": "debe ser un objeto",
    "dataclass_type": "debe ser un objeto",
    "invalid_key": "los nombres deben ser textos",
    "none_required": "debe ser null",
    "multiple_of": "debe ser múltiplo de {multiple_of}",
    "int_parsing_size": "el número es demasiado grande",
    "string_unicode": "contiene medio par sustituto Unicode",
    "string_not_ascii": "debe ser un texto ASCII",
    "decimal_type": "debe ser un número decimal",
    "decimal_parsing": "debe ser un número decimal",
    "decimal_max_digits": "a lo sumo {max_digits} cifras",
    "decimal_max_places": "a lo sumo {decimal_places} decimales",
    "decimal_whole_digits": "a lo sumo {whole_digits} cifras antes de la coma",
    "uuid_type": "debe ser un UUID",
    "uuid_parsing": "debe ser un UUID",
    "uuid_version": "debe ser un UUID de la versión {expected_version}",
    "url_type": "debe ser una dirección web",
    "url_parsing": "debe ser una dirección web",
    "union_tag_invalid": "uno de: {expected_tags}",
    "union_tag_not_found": "falta {discriminator}",
    "json_type": "debe ser un texto JSON",
    "json_invalid": "no es JSON válido",
    "recursion_loop": "se contiene a sí mismo",
    "model_type": "debe ser un objeto",
    "model_attributes_type": "debe ser un objeto",
}


def _in_spanish(error: Mapping[str, Any]) -> str:
    told = error.get("ctx", {})
    if isinstance(told.get("es"), str):  # a PydanticCustomError of ours
        return str(told["es"])
    raised = told.get("error")
    if isinstance(raised, ValueError) and raised.args and isinstance(raised.args[0], Words):
        return raised.args[0].es
    template = _SPANISH.get(error["type"], "no es un valor admitido")
    context = {
        name: str(value).replace("' or '", "', '").replace(" or ", " o ")
        for name, value in error.get("ctx", {}).items()
    }
    return template.format_map(context)


def from_validation(
    errors: Iterable[Mapping[str, Any]], *, prefix: Sequence[str | int] = (), limit: int = 100
) -> list[FieldError]:
    """Pydantic's errors as ours. Values never appear: they may be what a person wrote."""
    found: list[FieldError] = []
    for error in errors:
        if len(found) == limit:
            break
        location = [*prefix, *error["loc"]]
        text = str(error["msg"]).removeprefix("Value error, ")
        where = str(location[-1]) if location else "body"
        words = Words(f"{where}: {text}", f"{'el cuerpo' if where == 'body' else where}: {_in_spanish(error)}")
        found.append(FieldError(pointer_of(location), _CODES.get(error["type"], error["type"]), words))
    return found


def negotiate_language(accept: str | None, default: Language) -> Language:
    """RFC 4647 lookup among es and en; `default` where neither is asked for."""
    if not accept:
        return default
    best: tuple[float, Language] | None = None
    for part in accept[:500].split(","):
        tag, _, parameters = part.partition(";")
        primary = tag.strip().lower().partition("-")[0]
        if primary not in {"es", "en"}:
            continue
        quality = 1.0
        key, _, value = parameters.strip().partition("=")
        if key.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
        if quality > 0 and (best is None or quality > best[0]):
            best = (quality, "es" if primary == "es" else "en")
    return best[1] if best else default
