"""What kind of contact a text is where its sender did not say (R02), and whether it states what it needs (R65).

Cues are a person's verbs ("I want", "devuélvanme"), folded as the coder reads words. How sure they are was not measured on
labelled texts: `STATED` and the others below are one reading's judgement, kept low so that nobody mistakes them for more.
"""

import itertools
from collections.abc import Sequence

from libs.events.catalogue.interactions import Kind

STATED, UNSAID, GUESSED = 0.8, 0.5, 0.6

_ASKS = frozenset(
    """quiero queremos quisiera quisieramos solicito solicitamos necesito necesitamos exijo exigimos pido pedimos requiero
    requerimos reclamo reclamamos espero pretendo deseo devuelvan devuelvanme reintegren reintegrenme arreglen arreglenlo
    solucionen solucionenme cancelen envien envienme expliquen expliquenme corrijan llamen llamenme revisen activen cambien
    want need request demand require refund fix cancel explain resolve repair return send restore""".split()
)
_ASKING_PAIRS = frozenset(
    {
        ("would", "like"), ("call", "me"), ("call", "us"), ("can", "you"), ("could", "you"), ("me", "pueden"), ("me", "puede"),
        ("podrian", "ustedes"), ("me", "podrian"), ("ayuda", "con"), ("help", "me"), ("por", "favor"), ("let", "me"),
    }
)  # fmt: skip

_KINDS: tuple[tuple[Kind, frozenset[str]], ...] = (
    (Kind.COMPLIMENT, frozenset("felicito felicitaciones felicitar encantado excelente agradezco congratulations excellent wonderful".split())),
    (Kind.SUGGESTION, frozenset("sugiero sugerencia sugerimos propongo proponemos ojala suggest suggestion propose".split())),
    (Kind.CLAIM, frozenset("reclamo reclamacion reintegro reembolso devolucion indemnizacion compensacion refund compensation".split())),
    (Kind.COMPLAINT, frozenset("queja quejarme grosero pesimo inaceptable colmo indignado complain complaint terrible unacceptable awful".split())),
    (Kind.REQUEST, frozenset("solicito solicitud peticion certificado copia constancia certificate copy".split())),
    (Kind.INQUIRY, frozenset("saber consultar consulta pregunta informacion cuesta know wondering question information".split())),
)  # fmt: skip


def need_of(found: Sequence[str]) -> tuple[str, float] | None:
    """`stated` where the text asks for something, else `unsaid`, with how sure; None for no words."""
    if not found:
        return None
    asks = not _ASKS.isdisjoint(found) or any(pair in _ASKING_PAIRS for pair in itertools.pairwise(found))
    return ("stated", STATED) if asks else ("unsaid", UNSAID)


def kind_of(declared: Kind, found: Sequence[str]) -> tuple[Kind, float]:
    """The kind its sender gave; where none was given, the first whose words stand there, with how sure."""
    if declared is not Kind.UNKNOWN:
        return declared, 1.0
    for kind, cues in _KINDS:
        if not cues.isdisjoint(found):
            return kind, GUESSED
    return Kind.UNKNOWN, 0.0
