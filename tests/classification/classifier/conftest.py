"""One fitted model for the tests that only read it."""

from __future__ import annotations

import pytest

from services.classification.domain.classifier.model import Classifier, fit
from tests.classification.classifier.synthetic import MadeEncoder, complaints


@pytest.fixture(scope="session")
def encoder() -> MadeEncoder:
    return MadeEncoder()


@pytest.fixture(scope="session")
def fitted(encoder: MadeEncoder) -> Classifier:
    return fit(*complaints(400), encoder)
