from libs.service.migration import run
from services.classification.tables import metadata

run(metadata)
