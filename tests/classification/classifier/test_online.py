"""One correction is learnt at once, the older ones stay, and the same corrections give the same learner (R06, D7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.classification.domain.classifier.online import MEMORY, STEP_WORDS, OnLine, spoken
from services.classification.domain.classifier.online_coder import OnLineCoder
from services.classification.domain.classifier.text import prepare
from services.classification.encoder import Remembering
from tests.classification.classifier.synthetic import TOPICS, MadeEncoder, complaints

NAMES = {label: [label, *both] for label, both in TOPICS.items()}


def right(learner: OnLine, texts: list[str], truth: list[str]) -> float:
    return float(np.mean([item.label == label for item, label in zip(learner.judge(texts), truth, strict=True)]))


@pytest.mark.parametrize("with_encoder", [True, False])
def test_it_answers_from_names_and_gets_better_with_corrections(with_encoder: bool) -> None:
    learner = OnLine({label: [label] for label in TOPICS}, MadeEncoder() if with_encoder else None)
    texts, truth = complaints(200, seed=11)
    before = right(learner, texts, truth)
    for text, label in zip(*complaints(120, seed=12), strict=True):
        learner.learn(text, label)
    assert learner.learnt == 120
    assert right(learner, texts, truth) >= max(before, 0.85)


def test_a_correction_holds_from_the_next_text_on() -> None:
    learner = OnLine(NAMES, None)
    text = "el decodificador parpadea en naranja toda la noche"
    for _ in range(3):
        learner.learn(text, "visit.missed")
    assert learner.judge([text])[0].label == "visit.missed"


def test_what_was_learnt_first_is_not_pushed_out() -> None:
    learner = OnLine({"a": ["uno"], "b": ["dos"]}, None)
    for _ in range(4):
        learner.learn("la tarjeta se traba en el cajero", "a")
    for number in range(150):
        learner.learn(f"mensaje {number} sobre otra cosa distinta", "b")
    assert learner.judge(["la tarjeta se traba en el cajero"])[0].label == "a"


def test_the_same_corrections_give_the_same_answers() -> None:
    found = []
    for _ in range(2):
        learner = OnLine(NAMES, MadeEncoder())
        for text, label in zip(*complaints(80, seed=13), strict=True):
            learner.learn(text, label)
        found.append(learner.judge(complaints(30, seed=14)[0]))
    assert found[0] == found[1]


def test_texts_of_a_batch_that_share_buckets_move_each_as_often_as_it_stands_in_them() -> None:
    """The step moves each bucket once, by the sum of what its texts say: compared with the texts one after the other."""
    learner = OnLine({"a": ["uno"], "b": ["dos"], "c": ["tres"]}, None)
    texts = ["la tarjeta se traba", "la tarjeta no llega", "se traba se traba", "otra cosa"]
    batch = [
        replace(seen, label=place % 3) for place, seen in enumerate(learner.features([prepare(one) for one in texts]))
    ]
    buckets = [set(item.buckets.tolist()) for item in batch]
    assert buckets[0] & buckets[1]
    assert buckets[0] & buckets[2]
    table = learner.words.copy()
    chances = learner._chances(batch)
    for item, row in zip(batch, chances, strict=True):
        wrong = row - np.eye(3)[item.label]
        np.subtract.at(table, item.buckets, np.outer(item.values, wrong).astype(np.float32) * np.float32(STEP_WORDS))
    learner._step(batch)
    assert np.allclose(learner.words, table, atol=1e-5)


def test_an_unreadable_correction_teaches_nothing_and_an_unknown_label_is_refused() -> None:
    learner = OnLine(NAMES, None)
    learner.learn("XXXX 😡", "visit.missed")
    assert learner.learnt == 0
    with pytest.raises(KeyError):
        learner.learn("cobro doble", "no.such")
    with pytest.raises(ValueError, match="no labels"):
        OnLine({}, None)


def test_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MEMORY >= 1_000
    monkeypatch.setattr("services.classification.domain.classifier.online.MEMORY", 50)
    learner = OnLine(NAMES, None)
    for text, label in zip(*complaints(200, seed=15), strict=True):
        learner.learn(text, label)
    assert len(learner._memory) == 50


def test_codes_are_read_as_words() -> None:
    assert spoken("card_arrival") == "card arrival"
    assert spoken("Why_verify_identity?") == "why verify identity"


def test_motive_and_cause_are_learnt_from_one_reading_of_the_text() -> None:
    made = MadeEncoder()
    causes = {f"cause of {label}": [f"cause of {label}"] for label in TOPICS}
    coder = OnLineCoder(NAMES, causes, made)
    texts, motives = complaints(120, seed=16)
    before = made.calls
    for text, motive in zip(texts, motives, strict=True):
        assert coder.learn(text, motive, f"cause of {motive}")
    assert made.calls == before + 120
    asked, truth = complaints(60, seed=17)
    coded = coder.judge(asked)
    assert sum(item.motive.label == label for item, label in zip(coded, truth, strict=True)) >= 52
    told = [item for item in coded if item.cause != "unknown"]
    assert len(told) >= 40
    assert all(item.cause == f"cause of {item.motive.label}" for item in told)


def test_codes_of_another_rulebook_teach_nothing() -> None:
    coder = OnLineCoder(NAMES, {}, None)
    assert not coder.learn("cobro doble", "no.such", "none")
    assert not coder.learn("😡", "visit.missed")
    assert coder.learn("cobro doble", "billing.twice", "unknown")
    assert coder.judge(["cobro doble", ""])[1].motive.problem == "empty"


def test_a_text_that_was_shown_is_not_encoded_again_when_it_is_corrected_and_nothing_else_changes() -> None:
    """R06: the learner comes to the same weights whether this process had read the text before, alone or in a batch, or not."""
    texts, truth = complaints(40, seed=15)
    found, calls = [], []
    inners = [MadeEncoder() for _ in range(3)]
    encoders = [Remembering(inner, most=50) for inner in inners]
    learners = [OnLineCoder(NAMES, {}, encoder) for encoder in encoders]
    for read, inner, learner in zip(("never", "alone", "in a batch"), inners, learners, strict=True):
        if read == "alone":
            for text in texts:
                learner.judge([text])
        elif read == "in a batch":
            learner.judge(texts)
        before = inner.calls
        for text, label in zip(texts, truth, strict=True):
            assert learner.learn(text, label)
        calls.append(inner.calls - before)
        found.append(learner.judge(complaints(20, seed=16)[0]))
    assert calls[1] == 0
    assert calls[0] == calls[2] == len(set(texts))
    assert found[0] == found[1] == found[2]
    before = inners[2].calls
    encoders[2].forget()
    assert learners[2].learn(texts[0], truth[0])
    assert inners[2].calls > before


def test_no_more_texts_are_remembered_than_was_said() -> None:
    inner = MadeEncoder()
    encoder = Remembering(inner, most=3)
    for text in ("a", "b", "c", "a", "d", "a", "b"):
        encoder.encode([text])
    assert inner.calls == 5, "a was used last and stayed, b had to go"
    assert encoder.encode([]).shape == (0, 32)
    assert np.array_equal(encoder.encode(["a", "z"])[0], encoder.encode(["a"])[0])
