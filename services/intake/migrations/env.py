from libs.service.migration import run
from services.intake.tables import metadata

run(metadata)
