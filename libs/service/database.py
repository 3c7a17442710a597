"""Database engines (`libs.events.engines`) and each service's Alembic history."""

from libs.events.engines import make_engine as make_engine
from libs.events.engines import reading as reading
from libs.events.engines import truncate_wal as truncate_wal
from libs.events.engines import writing as writing
from libs.service.migration import differences as differences
from libs.service.migration import migrate as migrate
