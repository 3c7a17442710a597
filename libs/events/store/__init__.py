"""Appending and reading a service's own events."""

from libs.events.errors import ConcurrencyConflict, StoreBusy, StoreUnavailable, Unsealable
from libs.events.store.drafts import Cause, Draft, traceparent
from libs.events.store.group import Appended, GroupCommit
from libs.events.store.store import Committed, Store
from libs.events.store.unit import Unit

__all__ = [
    "Appended",
    "Cause",
    "Committed",
    "ConcurrencyConflict",
    "Draft",
    "GroupCommit",
    "Store",
    "StoreBusy",
    "StoreUnavailable",
    "Unit",
    "Unsealable",
    "traceparent",
]
