from libs.service.migration import run
from tests.service.toy.tables import metadata

run(metadata)
