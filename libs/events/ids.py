"""Ids that come out the same when the same thing is done again. Apart from the envelope, so that a domain can name facts."""

import uuid

NAMESPACE = uuid.UUID("6a0a2c5e-0c7b-5f0e-9a53-4c617a6f0001")


def derived_id(cause_id: str, handler: str, index: int) -> str:
    """The id of an event that a handler derives: uuid5 of (cause, handler, index), so that doing it again gives it again."""
    return str(uuid.uuid5(NAMESPACE, f"{cause_id}/{handler}/{index}"))


def natural_id(*parts: str) -> str:
    """The id of a fact that outside systems already identify (source and external id, a token …)."""
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(parts)))
