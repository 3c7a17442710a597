"""Many slices moved: which few failures explain it, each named by the narrowest set of attribute values."""

from services.classification.domain.localisation.cube import Cube
from services.classification.domain.localisation.findings import (
    Found,
    Localisation,
    Open,
    follow,
    localise,
    silenced,
)
from services.classification.domain.localisation.model import Rules
from services.classification.domain.localisation.noise import Noise, learn
from services.classification.domain.localisation.windows import Contact, Window, window

__all__ = [
    "Contact",
    "Cube",
    "Found",
    "Localisation",
    "Noise",
    "Open",
    "Rules",
    "Window",
    "follow",
    "learn",
    "localise",
    "silenced",
    "window",
]
