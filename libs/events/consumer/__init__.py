"""From the log to handlers: positions, inbox, handlers and what they emit in one transaction."""

from libs.events.consumer.batch import Batch
from libs.events.consumer.discipline import Discipline
from libs.events.consumer.handling import BreakerOpen, Handling
from libs.events.consumer.loop import Consumer
from libs.events.subscriptions import ConsumerSpec, Handler, Routes, Subscription

__all__ = [
    "Batch",
    "BreakerOpen",
    "Consumer",
    "ConsumerSpec",
    "Discipline",
    "Handler",
    "Handling",
    "Routes",
    "Subscription",
]
