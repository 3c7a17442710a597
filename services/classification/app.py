"""Classification's only place of wiring."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from libs.events.runtime import Runtime
from libs.service.environment import Environment
from libs.service.http import make_app
from libs.service.http.quarantine import quarantine_routes
from libs.service.service import Service
from libs.service.settings import BadSettings, load
from services.classification import encoder as encoders
from services.classification.api import (
    finding_work,
    findings,
    inputs,
    interactions,
    models,
    monitors,
    procedures,
    recodings,
    review,
    rulebook,
    shadow,
    topics,
    verdicts,
)
from services.classification.api.context import Context
from services.classification.books import Books
from services.classification.calendars import BadCalendar, rules_of
from services.classification.coding import Coding
from services.classification.domain.escalation import BadRules, parse
from services.classification.domain.slices import BadSeries
from services.classification.domain.slices import parse as parse_series
from services.classification.emerging import Emerging
from services.classification.escalating import Escalating
from services.classification.joining import Joining
from services.classification.judging import Judging
from services.classification.learner import Lessons
from services.classification.measuring import Measuring
from services.classification.modelling import Modelling
from services.classification.monitoring import STRETCH, Monitor
from services.classification.previewing import Preview
from services.classification.recoding import Recoding
from services.classification.refitting import Refitting
from services.classification.reviewing import Reviewing
from services.classification.settings import ClassificationSettings
from services.classification.shadow import Shadow
from services.classification.subscriptions import Dependencies, consumers, timer_handlers
from services.classification.verdicts import Publisher
from services.classification.waiting import Waiting

NAME = "classification"
DESCRIPTION = "The rulebook; motive, cause and component of every contact; isolated or systemic; corrective actions and whether they worked."


async def build(environment: Environment) -> Service:
    """Classification on the environment's engines; its database is migrated already, nothing is started. Raises BadSettings."""
    settings = load(ClassificationSettings)
    try:
        zone = ZoneInfo(settings.time_zone)
    except (KeyError, ValueError, OSError):
        raise BadSettings(f"LAZO_CLASSIFICATION_TIME_ZONE: there is no time zone {settings.time_zone!r}") from None
    try:
        levels = parse(settings.escalation)
    except BadRules as error:
        raise BadSettings(f"LAZO_CLASSIFICATION_ESCALATION: {error}") from None
    try:
        series = parse_series(settings.series)
    except BadSeries as error:
        raise BadSettings(f"LAZO_CLASSIFICATION_SERIES: {error}") from None
    waiting = Waiting(
        lateness=timedelta(hours=settings.lateness_hours),
        quiet=timedelta(hours=settings.quiet_hours),
        gather=timedelta(seconds=settings.gather_seconds),
        zone=zone,
    )
    try:
        rules = rules_of(settings)
    except BadCalendar as error:
        raise BadSettings(f"LAZO_CLASSIFICATION_HOLIDAYS: {error}") from None
    books = Books()
    emerging = Emerging(books, timedelta(hours=settings.topics_hours))
    app = make_app(NAME, environment=environment, title="Lazo classification", description=DESCRIPTION)
    measuring = Measuring(app.state.metrics.registry)
    lessons = Lessons(books, encoders.load if settings.encoder else lambda: None, measuring)
    modelling = Modelling(lessons)
    coding = Coding(books, lessons, modelling, emerging, measuring)
    refitting = Refitting(
        books,
        lessons,
        modelling,
        measuring,
        after=settings.fit_after,
        promote=settings.promote,
        encoder=settings.encoder,
    )
    reviewing = Reviewing(
        books, coding, lessons, share=settings.second_share, hold=timedelta(minutes=settings.claim_minutes)
    )
    recoding = Recoding(books, coding)
    # An eighth of the deadline: reading the counts, and saying what they came to, have to fit into a batch as well.
    stretch = min(STRETCH, environment.machinery().batch_deadline / 8)
    monitor = Monitor(rules, waiting, Publisher(books, rules, waiting), series, stretch)
    escalating = Escalating(levels, waiting)
    dependencies = Dependencies(
        coding, monitor, Judging(waiting), emerging, lessons, recoding, refitting, Joining(escalating), escalating
    )
    runtime = Runtime(
        service=NAME,
        engine=environment.engine(NAME),
        log=environment.log,
        vault=environment.vault,
        clock=environment.clock,
        consumers=consumers(dependencies),
        timers=timer_handlers(dependencies),
        settings=environment.machinery(),
    )
    context = Context(
        lessons=lessons,
        store=runtime.store,
        clock=environment.clock,
        books=books,
        coding=coding,
        monitor=monitor,
        waiting=waiting,
        settings=settings,
    )
    preview = Preview(environment.engine(NAME), environment.log, environment.vault, books, rules, lessons, series)
    app.include_router(rulebook.router(context, preview))
    app.include_router(shadow.router(context, Shadow(environment.engine(NAME), rules, series)))
    for room in (monitors, findings, finding_work, verdicts, inputs):
        app.include_router(room.router(context))
    app.state.lessons = lessons
    app.include_router(models.router(context))
    app.include_router(models.commands(context, modelling, refitting.works_on(runtime.store)))
    app.include_router(interactions.router(context, reviewing))
    app.include_router(review.router(context, reviewing))
    app.include_router(review.deciding(context, reviewing))
    app.include_router(recodings.router(context, recoding))
    app.include_router(findings.commands(context))
    app.include_router(topics.router(context, emerging))
    app.include_router(procedures.router(context))
    app.include_router(quarantine_routes(NAME))
    return Service(NAME, app, runtime, parts=[refitting])
