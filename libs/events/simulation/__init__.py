"""A deterministic simulation of the machinery: the real store, relay, consumer, timers and quarantine on real SQLite files,
driven by one scheduler. One schedule gives one run, to the last statement.

What is replaced: threads (a statement runs where it is asked for), the event loop's clock, and chance. Every transaction's
begin and commit and every call of the log waits at a gate until the schedule lets it pass; processes are killed there or at
the crash points of `libs.events.faults`, and what they leave on disk is all that their successors have.
"""

from libs.events.simulation.invariants import Violation
from libs.events.simulation.schedule import Schedule, Step, schedule_of
from libs.events.simulation.simulation import Outcome, Simulation, simulate
from libs.events.simulation.variant import REAL, Variant

__all__ = ["REAL", "Outcome", "Schedule", "Simulation", "Step", "Variant", "Violation", "schedule_of", "simulate"]
