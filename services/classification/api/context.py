"""What the routes are made with, and what they share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from libs.events.clock import Clock
from libs.events.store import Store
from libs.service.http import FieldError, Principal, Problem, negotiate, register_titles, require
from services.classification.books import Books
from services.classification.coding import Coding, LabelRefused
from services.classification.domain.findings import Refused
from services.classification.learner import Lessons
from services.classification.monitoring import Monitor
from services.classification.settings import ClassificationSettings
from services.classification.waiting import Waiting

Reader = Annotated[Principal, Depends(require("classification:read"))]
Writer = Annotated[Principal, Depends(require("classification:write"))]

register_titles(
    {
        "bad-rulebook": ("The rulebook has defects", "El libro de reglas tiene defectos"),
        "rulebook-conflict": ("Another rulebook was published meanwhile", "Entretanto se publicó otro libro de reglas"),
        "preview-running": ("A preview is running", "Hay una vista previa en curso"),
        "no-rulebook": ("No rulebook was published yet", "Aún no se ha publicado ningún libro de reglas"),
    }
)

# code: (es, en)
_TEXTS: Mapping[str, tuple[str, str]] = {
    "no_rulebook": (
        "Publique uno: lazo rulebook publish ARCHIVO",
        "Publish one: lazo rulebook publish FILE",
    ),
    "unknown_version": ("no existe la versión {value}", "there is no version {value}"),
    "unknown_interaction": ("esa interacción no se ha codificado", "that interaction was not coded"),
    "unknown_code": ("«{value}» no está en el libro de reglas", "'{value}' is not in the rulebook"),
    "retired_code": (
        "«{value}» se había retirado antes del contacto",
        "'{value}' was retired before the contact",
    ),
    "overtaken": (
        "entretanto se publicó la versión {value}; de este libro no se publicó nada: revíselo contra ella y publíquelo de nuevo",
        "version {value} was published meanwhile; nothing of this one was: check it against that one and publish again",
    ),
    "claimed": ("{value} la está revisando ahora", "{value} is looking at it now"),
    "not_claimed": (
        "pídala primero en la cola: la segunda codificación no debe conocer la primera",
        "claim it from the queue first: a second coding must not know the first",
    ),
    "erased": (
        "las palabras de esa persona se borraron; su codificación queda como está",
        "that person's words were erased; the coding stays as it is",
    ),
    "recoding_unknown": ("no existe esa recodificación", "there is no such recoding"),
    "recoding_busy": (
        "hay otra recodificación en curso: {value}",
        "another recoding is under way: {value}",
    ),
    "recoding_wrong_state": ("ahora está así: {value}", "it is {value} now"),
    "recoding_overtaken": (
        "el libro de reglas cambió después de la vista previa: pida otra",
        "the rulebook has changed since the preview: ask for another",
    ),
    "unknown_model": ("no existe ese modelo", "there is no such model"),
    "model_live": ("ese modelo ya decide", "that model decides already"),
    "model_not_live": (
        "ese modelo no decide ahora: no hay nada que deshacer",
        "that model does not decide now: there is nothing to take back",
    ),
    "model_unreadable": (
        "los archivos del modelo no son los que se escribieron ({value}); sigue el que decidía",
        "the model's files are not what was written ({value}); the one that decided goes on",
    ),
    "model_shadowed": ("ese modelo ya está en la sombra", "that model is in the shadow already"),
    "model_no_shadow": ("ese modelo no está en la sombra", "that model is not in the shadow"),
    "fit_busy": ("ya se está ajustando un modelo", "a model is being fitted already"),
    "in_future": ("{value} aún no ha llegado", "{value} has not come yet"),
    "unknown_topic": ("no existe el tema {value}", "there is no topic {value}"),
    "code_taken": ("«{value}» ya está en el libro de reglas", "'{value}' is in the rulebook already"),
    "unknown_setting": ("el monitor no tiene un ajuste «{value}»", "the monitor has no setting '{value}'"),
    "unknown_lesson": ("de ese hallazgo no se aprendió nada", "nothing was taught by that finding"),
    "unknown_dimension": ("no se puede cortar por «{value}»", "there is no dimension '{value}'"),
    "inverted": ("termina antes de empezar", "it ends before it begins"),
    "too_long": ("son más de diez años", "it is more than ten years"),
    "moved_on": ("cambió entretanto: léalo de nuevo y decida", "it has changed meanwhile: read it again and decide"),
}


@dataclass(frozen=True, slots=True)
class Context:
    store: Store
    clock: Clock
    books: Books
    coding: Coding
    lessons: Lessons
    monitor: Monitor
    waiting: Waiting
    settings: ClassificationSettings


def say(code: str, request: Request, value: str = "") -> str:
    es, en = _TEXTS[code]
    return (es if negotiate(request) == "es" else en).format(value=value)


def no_rulebook(request: Request) -> Problem:
    return Problem(404, "no-rulebook", say("no_rulebook", request))


def of_label(refused: LabelRefused, request: Request) -> Problem:
    """A refused label: 404 for an interaction nobody coded, 409 for the wrong moment, 422 for a wrong code."""
    text = say(refused.code, request, refused.value)
    if refused.code == "unknown_interaction":
        return Problem(404, "not-found", text)
    if refused.code == "no_rulebook":
        return Problem(409, "no-rulebook", text)
    if refused.code in {"claimed", "not_claimed", "erased", "moved_on"}:
        return Problem(409, "conflict", text, (FieldError("", refused.code.replace("_", "-"), text),))
    return Problem.field(refused.pointer or "", refused.code.replace("_", "-"), text)


def of_finding(refused: Refused, request: Request) -> Problem:
    """A refused command: 422 for one that never could be, 409 for the wrong moment."""
    text = refused.text(negotiate(request))
    if refused.code == "unknown_finding":
        return Problem(404, "not-found", text)
    code = refused.code.replace("_", "-")
    errors = (FieldError(refused.pointer, code, text),)
    return Problem(422 if refused.invalid else 409, "invalid" if refused.invalid else "conflict", text, errors)


def moved_on(request: Request, extra: Mapping[str, Any] | None = None, status: int = 409) -> Problem:
    code = "precondition-failed" if status == 412 else "conflict"
    return Problem(status, code, say("moved_on", request), extra=extra or {})
