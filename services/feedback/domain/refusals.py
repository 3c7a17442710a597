"""Why a command is refused, in the words of both languages."""

from collections.abc import Mapping

_TEXTS: Mapping[str, tuple[str, str]] = {
    "already_acknowledged": (
        "The case was already acknowledged at {at}.",
        "El acuse de recibo del caso ya se dio en {at}.",
    ),
    "already_resolved": (
        "The case is resolved. Reopen it before resolving it again.",
        "El caso está resuelto. Reábralo antes de resolverlo de nuevo.",
    ),
    "already_closed": (
        "The case is closed. Reopen it to go on with it.",
        "El caso está cerrado. Reábralo para continuar con él.",
    ),
    "already_referred": (
        "The case was referred to {to}. Reopen it to go on with it here.",
        "El caso fue trasladado a {to}. Reábralo para continuar con él aquí.",
    ),
    "not_finished": (
        "Only a resolved, closed or referred case can be reopened; this one is {status}.",
        "Solo se puede reabrir un caso resuelto, cerrado o trasladado; este está en estado {status}.",
    ),
    "unresolved": (
        "The case is {status}: resolve it first, or give a reason for closing it without a resolution.",
        "El caso está en estado {status}: resuélvalo primero, o indique un motivo para cerrarlo sin resolución.",
    ),
    "nobody_named": ("Name an agent or a team.", "Indique un agente o un equipo."),
    "unknown_outcome": (
        "The outcome is one of {allowed}; “{outcome}” is none of them.",
        "El resultado es uno de {allowed}; «{outcome}» no lo es.",
    ),
    "reason_required": (
        "An outcome other than “upheld” needs a reason the customer can be told.",
        "Un resultado distinto de «upheld» exige un motivo que se pueda dar al cliente.",
    ),
    "in_the_future": (
        "“at” lies in the future: a fact is recorded once it has happened.",
        "«at» está en el futuro: un hecho se registra cuando ya ocurrió.",
    ),
    "before_reception": (
        "“at” lies before the case was received ({received}).",
        "«at» es anterior a la recepción del caso ({received}).",
    ),
    "unknown_delivery_status": (
        "A channel reports one of {allowed}; “{status}” is none of them.",
        "Un canal informa uno de {allowed}; «{status}» no lo es.",
    ),
    "request_expired": (
        "The request is over: it must not be sent or answered any more.",
        "La solicitud terminó: ya no se debe enviar ni responder.",
    ),
    "not_a_question": (
        "A request of purpose “{purpose}” asks nothing, so it has no answer.",
        "Una solicitud con propósito «{purpose}» no pregunta nada, así que no tiene respuesta.",
    ),
    "empty_answer": (
        "An answer has at least one of score, helped, comment or new_need.",
        "Una respuesta tiene al menos score, helped, comment o new_need.",
    ),
    "unknown_request": ("There is no such request.", "No existe esa solicitud."),
    "unknown_case": ("There is no such case.", "No existe ese caso."),
}

INVALID = frozenset({
    "nobody_named", "unknown_outcome", "reason_required", "in_the_future", "before_reception", "unknown_delivery_status",
    "not_a_question", "empty_answer",
})  # fmt: skip
"""The command itself is wrong whatever the state; all others clash with the state as it stands."""

POINTERS: Mapping[str, str] = {
    "nobody_named": "/agent",
    "unknown_outcome": "/outcome",
    "reason_required": "/reason",
    "unresolved": "/reason",
    "in_the_future": "/at",
    "before_reception": "/at",
    "unknown_delivery_status": "/status",
    "empty_answer": "",
    "not_a_question": "/request_id",
}


class Refused(Exception):
    """A command the state does not allow. `code` is stable; `text(language)` says which transition and why."""

    def __init__(self, code: str, **values: str) -> None:
        super().__init__(_TEXTS[code][0].format_map(values))
        self.code = code
        self.values = values

    def text(self, language: str) -> str:
        return _TEXTS[self.code][1 if language == "es" else 0].format_map(self.values)

    @property
    def invalid(self) -> bool:
        return self.code in INVALID

    @property
    def pointer(self) -> str | None:
        return POINTERS.get(self.code)
