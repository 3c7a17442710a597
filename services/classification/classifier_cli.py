"""`lazo classifier`: fit, predict and evaluate on anyone's labelled texts, without any server."""

import csv
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

TEXTS: dict[str, tuple[str, str]] = {
    # training data
    "no_rows": ("{path}: no hay filas", "{path}: there are no rows"),
    "none_usable": (
        "{path}: ninguna fila tiene texto que se pueda leer",
        "{path}: no row has text that can be read",
    ),
    "one_row": ("{path}: con una sola fila no se aprende nada", "{path}: nothing can be learnt from one row"),
    "one_label": (
        "{path}: todas las filas llevan la misma etiqueta; hacen falta dos",
        "{path}: all rows carry the same label; two are needed",
    ),
    "too_many_labels": (
        "{path}: {labels} etiquetas distintas; a lo sumo {most} (¿es la columna de etiquetas?)",
        "{path}: {labels} different labels; at most {most} (is it the label column?)",
    ),
    # files
    "unreadable": ("{path}: no se puede leer: {detail}", "{path}: cannot be read: {detail}"),
    "empty": ("{path}: el archivo está vacío", "{path}: the file is empty"),
    "binary": ("{path}: no es un archivo de texto", "{path}: is no text file"),
    "no_csv": ("{path}: no es un CSV: {detail}", "{path}: is no CSV: {detail}"),
    "no_column": (
        "{path}: falta la columna {column} (hay: {found})",
        "{path}: column {column} is missing (there are: {found})",
    ),
    "unknown_encoding": ("{path}: codificación desconocida: {encoding}", "{path}: unknown encoding: {encoding}"),
    "not_in_encoding": ("{path}: no está en {encoding}", "{path}: is not in {encoding}"),
    # models
    "no_directory": ("{path}: no existe ese directorio de modelo", "{path}: there is no such model directory"),
    "no_manifest": (
        "{path}: sin manifest.json; no es un modelo, o quedó a medio escribir",
        "{path}: no manifest.json; not a model, or half written",
    ),
    "half_written": ("{path}: manifest.json quedó a medio escribir", "{path}: manifest.json is half written"),
    "no_model": ("{path}: no es un modelo de lazo", "{path}: is no model of lazo"),
    "other_format": (
        "{path}: formato de modelo {found}; este programa lee el {wanted}",
        "{path}: model format {found}; this program reads {wanted}",
    ),
    "missing": (
        "{path}: falta {file}; el modelo está incompleto",
        "{path}: {file} is missing; the model is incomplete",
    ),
    "foreign_file": ("{path}: {file} no pertenece al modelo", "{path}: {file} does not belong to the model"),
    "changed": (
        "{path}: {file} fue alterado; el modelo se rechaza",
        "{path}: {file} was altered; the model is refused",
    ),
    "too_large": ("{path}: el modelo es demasiado grande", "{path}: the model is too large"),
    "in_the_way": (
        "{path}: hay otras cosas en ese lugar; indique un directorio nuevo",
        "{path}: something else is there; name a new directory",
    ),
    # notes
    "no_encoder": (
        "sin el codificador de frases (extra «encoder»): deciden las palabras solas",
        "without the sentence encoder (extra “encoder”): the words decide alone",
    ),
    "other_encoder": (
        "el modelo usa {wanted}, que aquí no está: deciden las palabras solas",
        "the model uses {wanted}, which is not here: the words decide alone",
    ),
    "read_as": ("{path}: leído como {encoding}", "{path}: read as {encoding}"),
    "unlabelled": ("{path}: filas sin etiqueta, omitidas: {count}", "{path}: rows without label, left out: {count}"),
    "fitted": (
        "{path}: {rows} filas, {labels} etiquetas; reservando datos: exactitud {accuracy:.1%}, decide sola {coverage:.0%}",
        "{path}: {rows} rows, {labels} labels; on held-back data: accuracy {accuracy:.1%}, decides alone {coverage:.0%}",
    ),
    "unproven": (
        "{path}: {rows} filas, {labels} etiquetas; muy pocas para medir: todo se revisará",
        "{path}: {rows} rows, {labels} labels; too few to measure: everything will be reviewed",
    ),
    "predicted": ("{path}: {rows} filas, {review} por revisar", "{path}: {rows} rows, {review} to review"),
    "unwritable": ("{path}: no se puede escribir: {detail}", "{path}: cannot be written: {detail}"),
}

Train = Annotated[Path, typer.Argument(help="CSV with columns text,label", dir_okay=False)]
Test = Annotated[Path, typer.Argument(help="CSV with column text (and label, to evaluate)", dir_okay=False)]
Model = Annotated[Path, typer.Option(help="model directory", file_okay=False)]
WithEncoder = Annotated[bool, typer.Option("--encoder/--no-encoder", help="use the sentence encoder if installed")]
Encoding = Annotated[str | None, typer.Option(help="of the CSV files; otherwise it is told from their bytes")]
Json = Annotated[bool, typer.Option("--json", help="the answer as JSON")]


class _Stop(Exception):
    """The command ends with this line."""


def _say(name: str, **values: Any) -> str:
    asked = os.environ.get("LAZO_LANGUAGE", os.environ.get("LANG", "es")).lower()
    es, en = TEXTS[name]
    return (es if asked.startswith("es") else en).format(**values)


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")


def register(app: typer.Typer) -> None:
    """Add the commands to `lazo`."""
    classifier = typer.Typer(help="The classifier alone, on any labelled text.", no_args_is_help=True)
    app.add_typer(classifier, name="classifier")

    @classifier.command("fit")
    def fit(
        train: Train, model: Model, encoder: WithEncoder = True, encoding: Encoding = None, json: Json = False
    ) -> None:
        """Learn from TRAIN.csv (text,label) and write a model. The same file gives the same bytes."""
        _ended(lambda: _fit(train, model, encoder, encoding, json))

    @classifier.command("predict")
    def predict(
        test: Test,
        model: Model,
        out: Annotated[Path, typer.Option(help="CSV to write: label,confidence,review in the order of the rows")],
        encoder: WithEncoder = True,
        encoding: Encoding = None,
        json: Json = False,
    ) -> None:
        """Label TEST.csv (text). `review` is 1 where a person should look."""
        _ended(lambda: _predict(test, model, out, encoder, encoding, json))

    @classifier.command("evaluate")
    def evaluate(
        train: Train, test: Test, encoder: WithEncoder = True, encoding: Encoding = None, json: Json = False
    ) -> None:
        """Learn from TRAIN.csv, judge TEST.csv, and say how well. Nothing is taken from TEST.csv but the score."""
        _ended(lambda: _evaluate(train, test, encoder, encoding, json))


def _ended(work: Any) -> None:
    from services.classification.labelled import BadFile
    from services.classification.model_files import Unreadable

    try:
        work()
    except _Stop as stop:
        _note(f"lazo: {stop}")
    except (BadFile, Unreadable) as error:
        _note(f"lazo: {_say(error.code, **error.values)}")
    except OSError as error:
        _note(f"lazo: {_say('unwritable', path=error.filename or '', detail=error.strerror or str(error))}")
    else:
        return
    raise typer.Exit(1)


def _read(path: Path, *, labels: bool, encoding: str | None) -> Any:
    from services.classification.labelled import read

    found = read(path, labels=labels, encoding=encoding)
    if found.encoding not in {"utf-8", "utf-8-sig", encoding}:
        _note(_say("read_as", path=path, encoding=found.encoding))
    if found.unlabelled:
        _note(_say("unlabelled", path=path, count=found.unlabelled))
    if not found.texts:
        raise _Stop(_say("no_rows", path=path))
    return found


def _encoder(wanted: bool, model: str | None = None) -> Any:
    """The encoder, or None with a line that says so. `model`: the one a kept model was fitted with."""
    if not wanted:
        return None
    from services.classification import encoder

    found = encoder.load()
    if found is None and model is None:
        _note(_say("no_encoder"))
    elif model is not None and (found is None or found.name != model):
        _note(_say("other_encoder", wanted=model))
    return found


def _learnt(path: Path, texts: Sequence[str], labels: Sequence[str], encoder: Any) -> Any:
    from services.classification.domain.classifier.model import Unfit
    from services.classification.fitting import fit

    try:
        return fit(texts, labels, encoder)
    except Unfit as error:
        code = "none_usable" if error.code == "no_rows" else error.code
        raise _Stop(_say(code, path=path, **error.values)) from None


def _fit(train: Path, directory: Path, with_encoder: bool, encoding: str | None, as_json: bool) -> None:
    from services.classification.model_files import save

    data = _read(train, labels=True, encoding=encoding)
    model = _learnt(train, data.texts, data.labels, _encoder(with_encoder))
    digest = save(model, directory, data=data.digest)
    measured = model.measures.get("with_encoder", model.measures["alone"])
    values = {"path": train, "rows": len(data.texts), "labels": len(model.labels)}
    if measured.rows and measured.accuracy:
        _note(_say("fitted", **values, accuracy=measured.accuracy, coverage=measured.coverage_at_95))
    else:
        _note(_say("unproven", **values))
    if as_json:
        _out({"model": str(directory), "digest": digest, "labels": len(model.labels), "rows": len(data.texts)})


def _predict(test: Path, directory: Path, out: Path, with_encoder: bool, encoding: str | None, as_json: bool) -> None:
    from services.classification.model_files import load

    model = load(directory).model
    data = _read(test, labels=False, encoding=encoding)
    judged = model.judge(data.texts, _encoder(with_encoder, model.encoder) if model.encoder else None)
    with out.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["label", "confidence", "review"])
        rows.writerows((item.label, f"{item.confidence:.4f}", int(item.review)) for item in judged)
    review = sum(item.review for item in judged)
    _note(_say("predicted", path=out, rows=len(judged), review=review))
    if as_json:
        _out({"rows": len(judged), "review": review})


def _evaluate(train: Path, test: Path, with_encoder: bool, encoding: str | None, as_json: bool) -> None:
    from services.classification.domain.classifier.model import evaluated

    data = _read(train, labels=True, encoding=encoding)
    asked = _read(test, labels=True, encoding=encoding)
    encoder = _encoder(with_encoder)
    began = time.perf_counter()
    model = _learnt(train, data.texts, data.labels, encoder)
    fit_s = time.perf_counter() - began
    began = time.perf_counter()
    judged = model.judge(asked.texts, encoder)
    seconds = time.perf_counter() - began
    found = evaluated(judged, asked.labels)
    result = {name: round(value, 4) for name, value in found.items()}
    result |= {"fit_s": round(fit_s, 2), "texts_per_s": round(len(judged) / max(seconds, 1e-9), 1)}
    if as_json:
        _out(result)
    else:
        for name, value in result.items():
            sys.stdout.write(f"{name:16}{value}\n")


def _out(answer: Any) -> None:
    sys.stdout.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n")
