"""A model taken apart into arrays and plain values, and put together again: the only form in which it is kept.

Nothing here is executable: whoever reads arrays and JSON cannot be made to run anything, which pickle cannot promise.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from services.classification.domain.classifier import meaning
from services.classification.domain.classifier.calibrate import Calibration
from services.classification.domain.classifier.hierarchy import Hierarchy
from services.classification.domain.classifier.linear import Linear
from services.classification.domain.classifier.model import Classifier, Measures
from services.classification.domain.classifier.vocabulary import Vocabulary

FORMAT = 1
Arrays = dict[str, npt.NDArray[Any]]
_WORDS = {"keys": np.uint64, "idf": np.float32, "weights": np.float16, "bias": np.float32}
_MEANING = {"points": np.int8, "scale": np.float32, "meaning": np.float16}


class Foreign(ValueError):
    """Parts that do not make a model. `what` says which."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def taken_apart(model: Classifier) -> tuple[dict[str, Any], Arrays]:
    """Plain values (JSON) and arrays."""
    arrays: Arrays = {
        "keys": model.vocabulary.keys,
        "idf": model.vocabulary.idf,
        "weights": model.words.weights.astype(np.float16),
        "bias": model.words.bias,
    }
    if model.meaning is not None:
        arrays |= {
            "points": model.meaning.points,
            "scale": model.meaning.scale,
            "meaning": model.meaning.weights.astype(np.float16),
        }
    values: dict[str, Any] = {
        "labels": list(model.labels),
        "floor": model.floor,
        "alone": asdict(model.alone),
        "with_meaning": asdict(model.with_meaning) if model.with_meaning is not None else None,
        "encoder": model.encoder,
        "measures": {name: asdict(item) for name, item in model.measures.items()},
    }
    return values, arrays


def put_together(values: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Classifier:
    """The model. Raises Foreign for parts that are missing, of another kind or shape, or do not fit each other."""
    try:
        labels = tuple(str(label) for label in values["labels"])
        alone = Calibration(**{name: float(value) for name, value in values["alone"].items()})
        both = values["with_meaning"]
        together = None if both is None else Calibration(**{name: float(value) for name, value in both.items()})
        measures = {str(name): Measures(**item) for name, item in values["measures"].items()}
        floor, encoder = float(values["floor"]), values["encoder"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Foreign(f"manifest: {error}") from None
    wanted = _WORDS | (_MEANING if together is not None else {})
    for name, kind in wanted.items():
        if name not in arrays or arrays[name].dtype != kind:
            raise Foreign(f"array {name}")
        if kind in {np.float16, np.float32} and not np.isfinite(arrays[name]).all():
            raise Foreign(f"array {name}")
    features, classes = len(arrays["keys"]), len(labels)
    shapes = {"keys": (features,), "idf": (features,), "weights": (features, classes), "bias": (classes,)}
    if together is not None:
        points = len(arrays["points"])
        shapes |= {"points": (points, arrays["points"].shape[-1]), "scale": (points,), "meaning": (points, classes)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise Foreign(f"array {name}")
    keys = arrays["keys"]
    if not classes or len(set(labels)) != classes or (features > 1 and not (keys[1:] > keys[:-1]).all()):
        raise Foreign("array keys")
    over = None
    if together is not None:
        over = meaning.packed(arrays["points"], arrays["scale"], arrays["meaning"].astype(np.float32))
    words = Linear(arrays["weights"].astype(np.float32), arrays["bias"])
    vocabulary = Vocabulary(keys, arrays["idf"])
    return Classifier(labels, vocabulary, words, alone, floor, over, together, encoder, measures)


def hierarchy_apart(model: Hierarchy) -> tuple[dict[str, Any], Arrays]:
    """Both heads, each under its name; the vocabulary, which they share, stands once, with the motives."""
    values, arrays = taken_apart(model.motive)
    found: dict[str, Any] = {"motive": values, "cause": None}
    kept = {f"motive-{name}": array for name, array in arrays.items()}
    if model.cause is not None:
        values, arrays = taken_apart(model.cause)
        found["cause"] = values
        kept |= {f"cause-{name}": array for name, array in arrays.items() if name not in _SHARED}
        kept["usual"] = model.usual
    return found, kept


def hierarchy_together(values: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Hierarchy:
    """The model of motives and causes. Raises Foreign."""
    if not isinstance(values.get("motive"), dict):
        raise Foreign("manifest: motive")
    motive = put_together(values["motive"], _of(arrays, "motive-"))
    if values.get("cause") is None:
        return Hierarchy(motive, None, np.zeros((len(motive.labels), 0), dtype=np.float32))
    shared = {name: arrays[f"motive-{name}"] for name in _SHARED}
    cause = put_together(values["cause"], shared | _of(arrays, "cause-"))
    usual = arrays.get("usual")
    if usual is None or usual.dtype != np.float32 or usual.shape != (len(motive.labels), len(cause.labels)):
        raise Foreign("array usual")
    if not np.isfinite(usual).all() or (usual <= 0).any():
        raise Foreign("array usual")
    return Hierarchy(motive, cause, usual)


_SHARED = ("keys", "idf")


def _of(arrays: Mapping[str, npt.NDArray[Any]], head: str) -> Arrays:
    return {name.removeprefix(head): array for name, array in arrays.items() if name.startswith(head)}
