"""Fitting in a process of its own: it holds nobody's event loop, and what it takes is given back when it ends.

`python -m services.classification.fit_worker` reads one job from standard input and writes one answer to standard output, both
JSON: the texts are a person's words and never touch a disk in the clear.
"""

import base64
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from libs.events.catalogue.interactions import Kind
from services.classification import encoder as encoders
from services.classification.domain.classifier.hierarchy import Hierarchy, better
from services.classification.domain.classifier.meaning import Encoder
from services.classification.domain.classifier.model import Judgement, Unfit, evaluated
from services.classification.domain.coder import Coder, Contact
from services.classification.domain.learnt import Fitted, Learnt, Online
from services.classification.domain.rulebook import Rulebook
from services.classification.fitting import fit_both
from services.classification.learner import SPAN, called, started
from services.classification.model_files import libraries, read, written

ALLOWED = 0.01
"""How much less a model may agree with held-back sure decisions and still be better on corrections: those come from the review
queue, and a model that has learnt only what the queue is like loses the rest (97.9 % of the year's texts became 93.6)."""


def work(job: Mapping[str, Any], encoder: Encoder | None) -> dict[str, Any]:
    """Fit, measure beside what is in force, and say whether it is better. `outcome`: `fitted`, or why there is no model. The job's
    `known`: data and libraries of the models there are under this rulebook."""
    book = Rulebook.model_validate(job["rulebook"])
    rows = sorted(job["rows"], key=lambda row: str(row["id"]))
    train = [row for row in rows if not row["held"]]
    coded = [(row["text"], row["motive"], row["cause"]) for row in train]
    data = hashlib.sha256(json.dumps(coded, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
    if [data, libraries(encoder.name if encoder is not None else None)] in job.get("known", ()):
        return {"outcome": "same"}  # it would be that model to the last byte
    try:
        hierarchy = fit_both([row[0] for row in coded], [row[1] for row in coded], [row[2] for row in coded], encoder)
    except Unfit as problem:
        return {"outcome": problem.code}
    digest, files = written(hierarchy, data=data, rulebook_version=job["version"])
    manifest = json.loads(files["manifest.json"])
    kept = read(files, digest).model  # what is measured is what will be read back
    base = Coder(book, job["version"])
    live = None
    if job["live"]:
        held = {name: base64.b64decode(content) for name, content in job["live"].items()}
        live = _fitted(base, "live", read(held, "live").model)
    online = _online(base, book, train, job["order"], encoder)
    before = base.listening_to(_heard(base, encoder, online, live))
    after = base.listening_to(_heard(base, encoder, online, _fitted(base, "new", kept)))
    people = [row for row in rows if row["held"] and row["person"]]
    sure = [row for row in rows if row["held"] and not row["person"]]
    was, now = _decided(before, people), _decided(after, people)
    truth = [row["motive"] for row in people]
    alike_was, alike_now = _right(_decided(before, sure), sure), _right(_decided(after, sure), sure)
    measures = {
        "held_back": float(len(people)),
        "live_accuracy": _right(was, people),
        "accuracy": _right(now, people),
        "held_back_sure": float(len(sure)),
        "live_kept": alike_was,
        "kept": alike_now,
    }
    if people:
        told = evaluated(now, truth)
        measures |= {name: told[name] for name in ("ece", "coverage_at_95", "precision")}
    for head, model in (("motive", hierarchy.motive), ("cause", hierarchy.cause)):
        for name, one in (model.measures if model is not None else {}).items():
            told = {"accuracy": one.accuracy, "ece": one.ece, "coverage_at_95": one.coverage_at_95}
            measures |= {f"{head}_{name}_{what}": value for what, value in told.items()}
    return {
        "outcome": "fitted",
        "model_id": digest,
        "files": {name: base64.b64encode(content).decode() for name, content in files.items()},
        "data": data,
        "corrections": sum(row["person"] for row in train),
        "sure": sum(not row["person"] for row in train),
        "held_back": len(people),
        "encoder": hierarchy.motive.encoder,
        "libraries": manifest["libraries"],
        "measures": {name: round(value, 4) for name, value in measures.items()},
        "size": sum(map(len, files.values())),
        "better": better(was, now, truth) and alike_now >= alike_was - ALLOWED,
    }


def _online(
    base: Coder, book: Rulebook, train: Sequence[Mapping[str, Any]], order: Sequence[str], encoder: Encoder | None
) -> Online | None:
    """A learner of the corrections that are not held back: the one in force knows the others already."""
    texts = {row["id"]: row for row in train if row["person"]}
    learner, taught = started(book, base, encoder), 0
    for interaction_id in order[-SPAN:]:
        if (row := texts.get(interaction_id)) is not None:
            taught += learner.learn(row["text"], *called(book, row["motive"], row["cause"]))
    return Online(learner, 0, taught) if taught else None


def _fitted(base: Coder, name: str, hierarchy: Hierarchy) -> Fitted:
    book = base.rulebook
    return Fitted(
        name,
        hierarchy,
        [one.code for one in base.motives],
        [one.code for one in base.causes],
        lambda code: book.now_called("motives", code),
        lambda code: book.now_called("causes", code),
    )


def _heard(base: Coder, encoder: Encoder | None, online: Online | None, fitted: Fitted | None) -> Learnt | None:
    if online is None and fitted is None:
        return None
    return Learnt([one.code for one in base.motives], [one.code for one in base.causes], encoder, online, fitted)


def _decided(coder: Coder, rows: Sequence[Mapping[str, Any]]) -> list[Judgement]:
    contacts = [
        Contact(
            row["text"],
            datetime.fromisoformat(row["occurred_at"]),
            row["language"],
            None,
            Kind(row["kind"]),
            row["touchpoint"],
        )
        for row in rows
    ]
    return [Judgement(one.motive, one.confidence, one.review) for one in coder.code_many(contacts)]


def _right(judged: Sequence[Judgement], rows: Sequence[Mapping[str, Any]]) -> float:
    if not rows:
        return 0.0
    right = sum(1 for one, row in zip(judged, rows, strict=True) if one.label == row["motive"])
    return right / len(rows)


def main() -> int:
    job = orjson.loads(sys.stdin.buffer.read())
    sys.stdout.buffer.write(orjson.dumps(work(job, encoders.load() if job["encoder"] else None)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
