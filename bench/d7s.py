"""D7S: the classifier as the service uses it: the generated year coded from the rulebook's words and what people correct,
streams through the coder with everything learnt beside it, one correction learnt, and how long the event loop waits meanwhile.

The year is lived through day by day: what is in the review queue in the evening is corrected by the generator's truth, five a
day at most and 300 in all, and learnt before the next morning. Accuracy and queue are counted over the whole year, each text
as it was coded on its day: the first weeks, in which next to nothing was learnt, are in it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.lab import ROOT, Lab, note
from bench.report import Bar, at_most, told
from libs.events.catalogue.interactions import Kind
from libs.events.offload import offload
from services.classification import encoder as encoders
from services.classification.domain.classifier.meaning import Encoder
from services.classification.domain.coder import Coder, Contact, Decision
from services.classification.domain.learnt import Fitted, Learnt, Online
from services.classification.domain.rulebook import UNKNOWN
from services.classification.encoder import Remembering
from services.classification.fitting import fit_both
from services.classification.keeping import SURE, Keeping
from services.classification.learner import started
from services.classification.refitting import SURE_EACH
from services.classification.rulebook_file import read
from services.demo.year import Contact as Sent
from services.demo.year import generate

START = datetime(2025, 11, 24, tzinfo=UTC)
CORRECTIONS, A_DAY = 300, 5


def base_coder() -> Coder:
    book = read((ROOT / "deploy" / "rulebooks" / "operator.yaml").read_bytes()).book
    assert book is not None
    return Coder(book, 1)


def asked(sent: Sent) -> Contact:
    body = sent.body
    return Contact(body["text"], sent.at, body["language"], None, Kind(body["kind"]), body["touchpoint"])


def heard(base: Coder, encoder: Encoder | None, online: Online | None, fitted: Fitted | None = None) -> Coder:
    if online is None and fitted is None:
        return base
    codes = [one.code for one in base.motives], [one.code for one in base.causes]
    return base.listening_to(Learnt(*codes, encoder, online, fitted))


def reaches(name: str, what: str, value: float, bound: float) -> Bar:
    return Bar(name, what, 100 * value, "%", f">= {bound:g} %", 100 * value >= bound)


def run(lab: Lab) -> list[Bar]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = encoders.load()
    days = [day[:: 6 if lab.quick else 1] for day in generate(7, START).days]
    bars = year(days, None, "w")
    if found is None:
        note("D7S the encoder's wheel is not installed: only the words are measured")
    else:
        bars += year(days, found, "")
    fresh = lab.json_of([sys.executable, "-c", "from bench.d7s import held; held()"])
    what = "event loop at most this late (99.9th percentile) while a thread"
    for name, doing in (("code", "codes a stream"), ("learn", "learns corrections")):
        bars.append(
            at_most(f"D7S.held-{name}", f"{what} {doing}", fresh[name], "ms", 20, note=f"idle {fresh['idle']:.0f}")
        )
    bars += asyncio.run(waiting(lab.quick))
    return bars


def held() -> None:
    """In a process of its own, with nothing else on the loop: how late it wakes while threads work as the service's do."""
    print(json.dumps(asyncio.run(_held())))


async def _held() -> dict[str, float]:
    late: list[float] = []
    found: dict[str, float] = {}
    watch = asyncio.create_task(_watch(late))
    await asyncio.sleep(2)
    found["idle"] = _worst(late)
    encoder = encoders.load()  # as a service does before it is ready: nobody waits for its loop then
    base = base_coder()
    learner = await offload(started, base.rulebook, base, encoder)
    sent = [one for day in generate(7, START, 12).days for one in day][:800]
    await asyncio.sleep(0.1)  # what this thread itself did just now is not counted
    late.clear()
    for one in sent[:100]:
        await offload(learner.learn, one.body["text"], one.motive)
    found["learn"] = _worst(late)
    coder, keeping = heard(base, encoder, Online(learner, 100, 100)), Keeping()
    await asyncio.sleep(0.1)
    late.clear()
    for at in range(0, len(sent), 200):
        await offload(keeping.code, coder, [asked(one) for one in sent[at : at + 200]])
    found["code"] = _worst(late)
    watch.cancel()
    return found


def year(days: Sequence[Sequence[Sent]], encoder: Encoder | None, mark: str) -> list[Bar]:
    """The year lived through; then with a fitted model beside; then how fast a stream goes."""
    base, how = base_coder(), "with the encoder" if encoder is not None else "by words alone"
    whole, encoder = encoder, Remembering(encoder) if encoder is not None else None  # as the service wraps it
    learner, taught = started(base.rulebook, base, encoder), 0
    right = review = sure_right = texts = 0
    seconds: list[float] = []
    corrected: list[tuple[str, str, str]] = []
    coded: list[tuple[Sent, Decision]] = []
    words_right = words_review = 0
    for day in days:
        coder = heard(base, encoder, Online(learner, taught, taught) if taught else None)
        contacts = [asked(one) for one in day]
        decided = coder.code_many(contacts)
        pairs = list(zip(day, decided, strict=True))
        coded += pairs
        texts += len(pairs)
        right += sum(one.motive == sent.motive for sent, one in pairs)
        review += sum(one.review for one in decided)
        sure_right += sum(one.motive == sent.motive and not one.review for sent, one in pairs)
        if not mark:
            plain = base.code_many(contacts)
            words_right += sum(one.motive == sent.motive for sent, one in zip(day, plain, strict=True))
            words_review += sum(one.review for one in plain)
        queue = sorted((one.confidence, place) for place, one in enumerate(decided) if one.review)
        for _, place in queue[:A_DAY]:
            if len(corrected) < CORRECTIONS:
                said = day[place].body["text"], day[place].motive, day[place].cause or UNKNOWN
                coder.ranked(contacts[place], 3)  # what the queue shows to whoever decides
                began = time.perf_counter()
                taught += learner.learn(*said)
                seconds.append(time.perf_counter() - began)
                corrected.append(said)
    note(f"D7S {how}: {len(corrected)} corrections, {texts} texts")
    bars = []
    if not mark:
        bars += [
            told("D7S.words", "the year by the rulebook's words, nothing learnt", 100 * words_right / texts, "%"),
            told("D7S.wqueue", "its review queue", 100 * words_review / texts, "%"),
        ]
    bars += [
        reaches(f"D7S.year{mark}", f"the year, {len(corrected)} corrections, {how}", right / texts, 90),
        at_most(f"D7S.queue{mark}", "of it a person was asked about", 100 * review / texts, "%", 15),
        reaches(f"D7S.alone{mark}", "right of what no person was asked about", sure_right / (texts - review), 95),
    ]
    bars += causes([(sent.cause, one.cause) for sent, one in coded], mark, how)
    online = Online(learner, taught, taught)
    fitted = model_of(base, encoder, corrected, coded)
    coder = heard(base, encoder, online, fitted)
    late = [sent for day in days[120:] for sent in day][::10]
    said = coder.code_many([asked(one) for one in late])
    hits = float(np.mean([one.motive == sent.motive for sent, one in zip(late, said, strict=True)]))
    bars.append(told(f"D7S.fitted{mark}", "a tenth of the year's rest with a fitted model beside", 100 * hits, "%"))
    bars += [
        at_most(
            f"D7S.learn{mark}",
            f"one correction learnt of a text that was shown, {how}, p50",
            1000 * float(np.median(seconds)),
            "ms",
            5,
        ),
        told(f"D7S.learn95{mark}", "the same, p95", 1000 * float(np.percentile(seconds, 95)), "ms"),
    ]
    if whole is not None:
        other, unseen = started(base.rulebook, base, whole), []
        for text, motive, cause in corrected[:100]:
            began = time.perf_counter()
            other.learn(text, motive, cause)
            unseen.append(time.perf_counter() - began)
        bars.append(
            told(
                "D7S.unseen", "the same of a text no process had read alone, p50", 1000 * float(np.median(unseen)), "ms"
            )
        )
    return bars + stream(coder, [sent for day in days for sent in day], mark, how)


def causes(pairs: Sequence[tuple[str | None, str]], mark: str, how: str) -> list[Bar]:
    """(what the text was made to name, what was coded). A text that was made to name none may do so all the same, in the words of
    its motive ("the modem is broken"): what is coded there is told, and is no count of errors."""
    told_one = [(truth, said) for truth, said in pairs if truth is not None]
    others = [said for truth, said in pairs if truth is None]
    right = sum(truth == said for truth, said in told_one) / len(told_one)
    missed = sum(said == UNKNOWN for _, said in told_one) / len(told_one)
    extra = sum(said != UNKNOWN for said in others) / len(others)
    return [
        told(f"D7S.cause{mark}", f"cause right, {how}, of {len(told_one)} texts that name one", 100 * right, "%"),
        told(f"D7S.cause-none{mark}", "left unknown of them", 100 * missed, "%"),
        told(f"D7S.cause-other{mark}", f"a cause coded, of {len(others)} texts not made to name one", 100 * extra, "%"),
    ]


def model_of(
    base: Coder,
    encoder: Encoder | None,
    corrected: Sequence[tuple[str, str, str]],
    coded: Sequence[tuple[Sent, Decision]],
) -> Fitted:
    """As the service fits one: corrections, and sure decisions beside each."""
    sure = [
        (sent.body["text"], one.motive, one.cause) for sent, one in coded if one.confidence >= SURE and not one.review
    ]
    some = sure[:: max(1, len(sure) // (SURE_EACH * max(1, len(corrected))))]
    rows = [*corrected, *some]
    hierarchy = fit_both([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], encoder)
    codes = [one.code for one in base.motives], [one.code for one in base.causes]
    return Fitted("svm@bench", hierarchy, *codes, lambda code: code, lambda code: code)


def stream(coder: Coder, sent: Sequence[Sent], mark: str, how: str) -> list[Bar]:
    """Texts a second of processor time on one core, through words, learner, fitted model and precedents, in the service's batches."""
    bound = 3000 if mark else 300
    texts = [asked(one) for one in sent[: 6_000 if mark else 1_500]]
    keeping, rates = Keeping(), []
    for _ in range(3):
        began = time.process_time()
        for at in range(0, len(texts), 500):
            keeping.code(coder, texts[at : at + 500])
        rates.append(len(texts) / (time.process_time() - began))
    value = float(np.median(rates))
    what = f"a stream {how}, words, learner and fitted model together, one core"
    return [Bar(f"D7S.stream{mark}", what, value, "1/s", f">= {bound}", value >= bound)]


async def waiting(quick: bool) -> list[Bar]:
    """How late the event loop of two running services and of their client, all in this process, wakes meanwhile. Told, not
    promised: taking in, sealing, storing and relaying share the loop; `held` measures what learning and coding add."""
    from libs.events.clock import SystemClock
    from libs.service.testing import running
    from services.classification.app import build as classification
    from services.intake.app import build as intake

    os.environ["LAZO_CLASSIFICATION_FIT_AFTER"] = "0"
    late: list[float] = []
    sent = [one for day in generate(7, START, 12).days for one in day][: 400 if quick else 900]
    with tempfile.TemporaryDirectory() as folder:
        async with running(intake, classification, clock=SystemClock(), data=Path(folder)) as site:
            client = site.client
            watch = asyncio.create_task(_watch(late))
            await asyncio.sleep(2)
            idle = _worst(late)
            await client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM"})
            book = (ROOT / "deploy" / "rulebooks" / "operator.yaml").read_bytes()
            await client.post(
                "/classification/v1/rulebook/publish", content=book, headers={"content-type": "application/yaml"}
            )
            ids = await _send(client, sent[:200])
            await site.settle()
            before = psutil.Process().memory_info().rss
            late.clear()
            for number, (one, identity) in enumerate(list(zip(sent, ids, strict=False))[:150]):
                body = {"motive": one.motive, "by": "bench"}
                await client.post(f"/classification/v1/interactions/{identity}/label", json=body)
                if number == 0:
                    await site.settle()
                    first = 1000 * max(late)
            await site.settle()
            learning = _worst(late)
            memory = (psutil.Process().memory_info().rss - before) / 2**20
            late.clear()
            await _send(client, sent[200:])
            await site.settle(300)
            coding = _worst(late)
            late.clear()
            await client.post("/classification/v1/models/fit", json={"by": "bench"})
            while True:
                fit = (await client.get("/classification/v1/models")).json()["fit"]
                if fit["state"] == "done":
                    break
                await asyncio.sleep(0.2)
            fitting = _worst(late)
            watch.cancel()
    what = "event loop at most this late (99.9th percentile)"
    return [
        at_most("D7S.held-first", "event loop at most this late at the first correction ever", first, "ms", 20),
        told("D7S.lag0", f"{what}, idle", idle, "ms"),
        told("D7S.lag1", f"{what}, 150 corrections over HTTP", learning, "ms"),
        told("D7S.lag2", f"{what}, a stream taken in and coded", coding, "ms"),
        told("D7S.lag3", f"{what}, a model being fitted", fitting, "ms"),
        told("D7S.memory", "what learning and the encoder added to the process", memory, "MB"),
    ]


async def _send(client: Any, sent: Sequence[Sent]) -> list[str]:
    found: list[str] = []
    for at in range(0, len(sent), 100):
        answer = await client.post("/intake/v1/interactions", json=[one.body for one in sent[at : at + 100]])
        found += [item["id"] for item in answer.json()["results"]]
    return found


async def _watch(late: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.002)
        late.append(time.perf_counter() - began - 0.002)


def _worst(late: Sequence[float]) -> float:
    return 1000 * float(np.percentile(late, 99.9))
