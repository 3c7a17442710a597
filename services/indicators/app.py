"""Where the indicators are wired together."""

from libs.events.runtime import Runtime
from libs.service.environment import Environment
from libs.service.http.app import make_app
from libs.service.http.quarantine import quarantine_routes
from libs.service.service import Service
from libs.service.settings import load
from services.indicators.api.control import router as control_charts
from services.indicators.api.reads import Reads
from services.indicators.api.routes import router
from services.indicators.console.assets import Assets
from services.indicators.console.pages import console
from services.indicators.projection import projection
from services.indicators.settings import IndicatorsSettings

NAME = "indicators"


async def build(environment: Environment) -> Service:
    """The service, ready to be started; its database is migrated."""
    settings = load(IndicatorsSettings)
    engine = environment.engine(NAME)
    runtime = Runtime(
        service=NAME,
        engine=engine,
        log=environment.log,
        vault=environment.vault,
        clock=environment.clock,
        projections=[projection(settings.batch)],
        settings=environment.machinery(),
    )
    app = make_app(
        NAME,
        environment=environment,
        title="Lazo · indicators",
        description="Numbers with what they are made of, as known at any instant, open to the events behind them.",
    )
    app.state.reads = Reads(engine, environment.clock, environment.vault, settings)
    app.state.assets = Assets()
    app.include_router(router)
    app.include_router(control_charts)
    app.include_router(quarantine_routes(NAME))
    app.include_router(console)
    return Service(name=NAME, app=app, runtime=runtime)
