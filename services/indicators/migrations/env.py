from libs.service.migration import run
from services.indicators.tables import metadata

run(metadata)
