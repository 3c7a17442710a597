"""Feedback's only place of wiring."""

from datetime import timedelta

from libs.events.catalogue.topics import FINDINGS, INTERACTIONS
from libs.events.runtime import Runtime
from libs.events.subscriptions import ConsumerSpec
from libs.service.environment import Environment
from libs.service.http import make_app
from libs.service.http.quarantine import quarantine_routes
from libs.service.service import Service
from libs.service.settings import BadSettings, load
from services.feedback.api.cases import cases_router
from services.feedback.api.commands import commands_router
from services.feedback.api.context import Context
from services.feedback.api.pages import pages_router
from services.feedback.api.requests import requests_router
from services.feedback.desk import Desk
from services.feedback.domain.orders import Policy
from services.feedback.hub import Hub
from services.feedback.regimes import BadRegime, Regimes
from services.feedback.regimes import load as load_regimes
from services.feedback.settings import FeedbackSettings
from services.feedback.subscriptions import Dependencies, about_findings, subscriptions, timer_handlers
from services.feedback.wording import Wording

NAME = "feedback"
DESCRIPTION = (
    "Cases and their legal clocks, what customers must be told and by which channel, and what they answer: "
    "who must be told what, by when, and is the loop closed?"
)


async def build(environment: Environment) -> Service:
    """Feedback on the environment's engines; its database is migrated already, nothing is started. Raises BadSettings."""
    settings, general = load(FeedbackSettings), environment.settings
    try:
        regimes = Regimes(load_regimes(settings.regimes_folder), settings.regime, settings.regimes)
    except BadRegime as error:
        raise BadSettings(str(error)) from None
    wording = Wording(
        public_url=general.public_url or f"http://{general.host}:{general.port}",
        contact={"es": settings.contact_es, "en": settings.contact_en},
    )
    policy = Policy(
        calendar=regimes.calendar,
        survey_after=timedelta(days=settings.survey_days),
        lifetime=timedelta(days=settings.request_days),
        acknowledgement_lifetime=timedelta(days=settings.acknowledgement_days),
    )
    desk = Desk(environment.vault, policy, wording)
    dependencies = Dependencies(environment.vault, desk, regimes, settings.kinds, general.language)
    runtime = Runtime(
        service=NAME,
        engine=environment.engine(NAME),
        log=environment.log,
        vault=environment.vault,
        clock=environment.clock,
        consumers=[
            # A customer who wrote waits for an acknowledgement, but not for a fifth of a second.
            ConsumerSpec(NAME, (INTERACTIONS,), subscriptions(dependencies), patience=3),
            ConsumerSpec(f"{NAME}.findings", (FINDINGS,), about_findings(dependencies), patience=3),
        ],
        timers=timer_handlers(dependencies),
        settings=environment.machinery(),
    )
    hub = Hub()
    runtime.store.on_commit(hub.committed)
    context = Context(
        store=runtime.store,
        vault=environment.vault,
        clock=environment.clock,
        desk=desk,
        wording=wording,
        hub=hub,
        organisation=settings.organisation,
        calendar=regimes.calendar,
    )
    app = make_app(NAME, environment=environment, title="Lazo feedback", description=DESCRIPTION)
    for router in (cases_router, commands_router, requests_router, pages_router):
        app.include_router(router(context))
    app.include_router(quarantine_routes(NAME))
    return Service(NAME, app, runtime)
