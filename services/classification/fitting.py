"""Fitting as services and commands do it: on one core, so that the same data give the same bytes whatever machine sets.

BLAS adds up in another order with another number of threads; a sum that differs in its last bit may round to another half.
Fitting is long and must not hold the event loop: callers offload it.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

from services.classification.domain.classifier.hierarchy import Hierarchy, fit_hierarchy
from services.classification.domain.classifier.meaning import Encoder
from services.classification.domain.classifier.model import Classifier
from services.classification.domain.classifier.model import fit as fit_model

T = TypeVar("T")


def fit(texts: Sequence[str], labels: Sequence[str], encoder: Encoder | None = None) -> Classifier:
    """A model of labelled texts. Raises Unfit."""
    return _on_one_core(lambda: fit_model(texts, labels, encoder))


def fit_both(
    texts: Sequence[str], motives: Sequence[str], causes: Sequence[str], encoder: Encoder | None = None
) -> Hierarchy:
    """A model of motives and causes. Raises Unfit."""
    return _on_one_core(lambda: fit_hierarchy(texts, motives, causes, encoder))


def _on_one_core(work: Callable[[], T]) -> T:
    import scipy.linalg  # noqa: F401 - its own BLAS must be loaded before the limit is set, or it is not limited
    import sklearn.svm  # noqa: F401 - the same
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        # Few texts of many causes look to scikit-learn as if numbers were to be predicted; they are codes.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        return work()
