"""Models as directories, and `lazo classifier` on anyone's files: whole or refused, in one line (issue: bad input, R03)."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from services.classification import classifier_cli, encoder, fitting, model_files
from services.classification.domain.classifier.model import Classifier, fit
from services.classification.labelled import BadFile, read
from services.classification.model_files import Unreadable, load, save
from tests.classification.classifier.synthetic import MadeEncoder, complaints

APP = typer.Typer()
classifier_cli.register(APP)


@APP.callback()
def _root() -> None:
    """So that `classifier` stays a command of its own."""


def lazo(*arguments: object, language: str = "en", code: int = 0) -> tuple[str, str]:
    """Standard output and error of `lazo classifier …`; the exit code is checked."""
    done = CliRunner().invoke(APP, ["classifier", *map(str, arguments)], env={"LAZO_LANGUAGE": language})
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout, done.stderr


def written(path: Path, texts: list[str], labels: list[str], encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows(zip(texts, labels, strict=True))
    return path


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def kept(tmp_path: Path, fitted: Classifier) -> Path:
    save(fitted, tmp_path / "model", data="d" * 64, rulebook_version=3)
    return tmp_path / "model"


def test_what_is_kept_answers_as_before(kept: Path, fitted: Classifier, encoder: MadeEncoder) -> None:
    texts, _ = complaints(60, seed=21)
    again = load(kept)
    assert again.model.judge(texts, encoder) == fitted.judge(texts, encoder)
    assert again.model.judge(texts) == fitted.judge(texts)
    assert again.manifest["rulebook_version"] == 3
    assert {"numpy", "scikit-learn", "encoder"} <= again.manifest["libraries"].keys()
    assert sum(len(content) for content in contents(kept).values()) < 30e6


def test_same_data_same_bytes(tmp_path: Path) -> None:
    texts, labels = complaints(150)
    digests = {save(fit(texts, labels, MadeEncoder()), tmp_path / name, data="d" * 64) for name in ("one", "other")}
    assert len(digests) == 1
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_same_bytes_whatever_number_of_threads_was_set(tmp_path: Path) -> None:
    texts, labels = complaints(900)
    digests = set()
    for threads in (1, 2, 4):
        with threadpool_limits(limits=threads):
            digests.add(save(fitting.fit(texts, labels, MadeEncoder()), tmp_path / str(threads), data="d" * 64))
    assert len(digests) == 1


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _reworded(directory: Path) -> None:
    path = directory / "manifest.json"
    path.write_text(path.read_text().replace('"floor": ', '"floor": 1'))


def _pickled(directory: Path) -> None:
    np.save(directory / "idf.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def _other_format(directory: Path) -> None:
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "format": 99}))


TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "an array changed": (lambda d: _flip(d / "weights.npy"), "changed"),
    "the manifest changed": (_reworded, "changed"),
    "an array of objects": (_pickled, "changed"),
    "an array gone": (lambda d: (d / "bias.npy").unlink(), "missing"),
    "an array cut": (lambda d: (d / "idf.npy").write_bytes((d / "idf.npy").read_bytes()[:-9]), "changed"),
    "a file too many": (lambda d: (d / "more.pkl").write_bytes(b"x"), "foreign_file"),
    "no manifest": (lambda d: (d / "manifest.json").unlink(), "no_manifest"),
    "half a manifest": (
        lambda d: (d / "manifest.json").write_bytes((d / "manifest.json").read_bytes()[:300]),
        "half_written",
    ),
    "somebody else's manifest": (lambda d: (d / "manifest.json").write_text('{"name": "x"}'), "no_model"),
    "a list for a manifest": (lambda d: (d / "manifest.json").write_text("[1]"), "no_model"),
    "another format": (_other_format, "other_format"),
    "no directory": (shutil.rmtree, "no_directory"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_directory_that_is_no_whole_model_is_refused_in_one_line(kept: Path, tmp_path: Path, what: str) -> None:
    change, code = TAMPERED[what]
    change(kept)
    with pytest.raises(Unreadable) as refused:
        load(kept)
    assert refused.value.code == code
    test = written(tmp_path / "t.csv", ["cobro doble"], ["x"])
    for language in ("es", "en"):
        _, said = lazo("predict", test, "--model", kept, "--out", tmp_path / "p.csv", language=language, code=1)
        assert said.startswith("lazo: ")
        assert said.count("\n") == 1
        assert str(kept) in said
    assert not (tmp_path / "p.csv").exists()


def test_a_manifest_that_agrees_with_itself_and_not_with_its_arrays_is_refused(kept: Path) -> None:
    path = kept / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["digest"]
    manifest["model"]["labels"].append("one.more")
    manifest["digest"] = model_files._digest(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(Unreadable, match="changed"):
        load(kept)


def test_a_model_replaces_a_model_and_never_somebody_s_folder(kept: Path, fitted: Classifier, tmp_path: Path) -> None:
    before = contents(kept)
    assert save(fitted, kept, data="e" * 64) != json.loads(before["manifest.json"])["digest"]
    load(kept)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"x")
    with pytest.raises(Unreadable, match="in_the_way"):
        save(fitted, tmp_path / "photos", data="e" * 64)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "photos"]


def test_a_write_that_fails_leaves_the_model_that_was_there(
    kept: Path, fitted: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(kept)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        save(fitted, kept, data="e" * 64)
    assert contents(kept) == before
    assert [path.name for path in kept.parent.iterdir()] == ["model"]


def test_the_command_fits_predicts_and_evaluates(tmp_path: Path) -> None:
    train = written(tmp_path / "train.csv", *complaints(300))
    texts, truth = complaints(100, seed=22)
    texts[7], texts[8] = "", "😡"
    test = written(tmp_path / "test.csv", texts, truth)
    lazo("fit", train, "--model", tmp_path / "m", "--no-encoder")
    lazo("predict", test, "--model", tmp_path / "m", "--out", tmp_path / "p.csv")
    rows = list(csv.reader((tmp_path / "p.csv").read_text("utf-8").splitlines()))
    assert rows[0] == ["label", "confidence", "review"]
    assert len(rows) == 101
    assert rows[8] == rows[9] == ["unknown", "0.0000", "1"]
    assert {row[2] for row in rows[1:]} == {"0", "1"}
    assert sum(row[0] == label for row, label in zip(rows[1:], truth, strict=True)) >= 88
    answer, _ = lazo("evaluate", train, test, "--no-encoder", "--json")
    found = json.loads(answer)
    assert {"accuracy", "macro_f1", "ece", "coverage_at_95", "fit_s", "texts_per_s"} <= found.keys()
    assert found["accuracy"] >= 0.88


def test_the_command_gives_the_same_bytes_for_the_same_file(tmp_path: Path) -> None:
    train = written(tmp_path / "train.csv", *complaints(120))
    for name in ("one", "other"):
        lazo("fit", train, "--model", tmp_path / name, "--no-encoder")
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_without_the_wheel_the_words_decide_and_a_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "installed", lambda: False)
    train = written(tmp_path / "train.csv", *complaints(120))
    _, said = lazo("fit", train, "--model", tmp_path / "m")
    assert "without the sentence encoder" in said
    _, said = lazo("fit", train, "--model", tmp_path / "m", language="es")
    assert "sin el codificador de frases" in said


def test_a_model_whose_encoder_is_not_here_decides_by_words_and_says_so(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "installed", lambda: False)
    test = written(tmp_path / "t.csv", ["cobro doble en mi factura"], ["x"])
    _, said = lazo("predict", test, "--model", kept, "--out", tmp_path / "p.csv")
    assert "made@1" in said
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 2


BAD: dict[str, tuple[bytes, str, str]] = {
    "empty file": (b"", "the file is empty", "vacío"),
    "no rows": (b"text,label\n", "there are no rows", "no hay filas"),
    "no label column": (b"text,other\na,b\n", "column label is missing", "falta la columna label"),
    "no text column": (b"words,label\na,b\n", "column text is missing", "falta la columna text"),
    "one row": (b"text,label\ncobro doble,a\n", "one row", "una sola fila"),
    "one class": (b"text,label\ncobro doble,a\nsin luz,a\n", "same label", "la misma etiqueta"),
    "no usable text": ("text,label\n😡,a\nXXXX,b\n".encode(), "no row has text", "ninguna fila"),
    "binary": (b"\x89PNG\0\0\0text,label", "no text file", "no es un archivo de texto"),
    "100,000 labels": (
        ("text,label\n" + "".join(f"texto {n},{n}\n" for n in range(100_000))).encode(),
        "100000 different labels; at most 2000",
        "100000 etiquetas distintas",
    ),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("language", ["es", "en"])
def test_a_bad_training_file_is_told_in_one_line(tmp_path: Path, what: str, language: str) -> None:
    content, en, es = BAD[what]
    (tmp_path / "bad.csv").write_bytes(content)
    _, said = lazo("fit", tmp_path / "bad.csv", "--model", tmp_path / "m", "--no-encoder", language=language, code=1)
    assert (en if language == "en" else es) in said
    assert said.count("\n") == 1
    assert not (tmp_path / "m").exists()


def test_a_file_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    _, said = lazo("fit", tmp_path / "none.csv", "--model", tmp_path / "m", "--no-encoder", code=1)
    assert "cannot be read" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "mac_roman"])
def test_another_encoding_is_read_as_what_it_is(tmp_path: Path, encoding: str) -> None:
    texts = ["La señal se cayó después del pago, ¿qué pasó?", "Atención pésima en la sucursal ¡año tras año!"]
    path = written(tmp_path / "t.csv", texts, ["a", "b"], encoding)
    found = read(path, labels=True)
    assert found.texts == texts
    assert found.encoding in {encoding, "utf-8"}


def test_an_encoding_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", ["señal caída"], ["a"], "cp1252")
    for name, code in (("utf-8", "not_in_encoding"), ("klingon", "unknown_encoding")):
        with pytest.raises(BadFile) as refused:
            read(path, labels=True, encoding=name)
        assert refused.value.code == code


def test_quoted_fields_other_separators_and_short_rows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('label;text\na;"dos\nlíneas; y más"\nb\n;sin etiqueta\n', encoding="utf-8")
    found = read(path, labels=True)
    assert (list(found.texts), list(found.labels), found.unlabelled) == (["dos\nlíneas; y más", ""], ["a", "b"], 1)
    assert read(path, labels=False).texts == ["dos\nlíneas; y más", "", "sin etiqueta"]


def test_a_file_of_many_labels_with_few_rows_each_is_learnt_without_a_word_of_a_librarys(tmp_path: Path) -> None:
    """scikit-learn warned of a "regression problem". Warnings are errors here, so one would end the command."""
    texts = [f"palabra{number} propia{number} otra" for number in range(60)]
    train = written(
        tmp_path / "train.csv", texts, [f"etiqueta ñ {number // 2 if number < 20 else number}" for number in range(60)]
    )
    said = lazo("fit", train, "--model", tmp_path / "m", "--no-encoder")
    assert "egression" not in "".join(said)
