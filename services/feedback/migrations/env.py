from libs.service.migration import run
from services.feedback.tables import metadata

run(metadata)
