"""What is usually shipped: TF-IDF with logistic regression, and fastText; accuracy on the test rows, as JSON."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

given = json.loads(Path(sys.argv[1]).read_text("utf-8"))
train, test = given["train"], given["test"]
found = {}

pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
pipeline.fit([text for text, _ in train], [label for _, label in train])
said = pipeline.predict([text for text, _ in test])
found["TF-IDF + LR"] = sum(one == label for one, (_, label) in zip(said, test, strict=True)) / len(test)

try:
    import fasttext
except ImportError:
    print("fastText is absent", file=sys.stderr)
else:

    def words(text: str) -> str:
        return " ".join(re.findall(r"\w+|[^\w\s]", text.lower()))

    names = sorted({label for _, label in train})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.txt"
        lines = [f"__label__{names.index(label)} {words(text)}" for text, label in train]
        file.write_text("\n".join(lines) + "\n", "utf-8")
        model = fasttext.train_supervised(str(file), epoch=25, lr=0.5, wordNgrams=2, thread=1, seed=1, verbose=0)
    guesses = [names[int(model.predict(words(text))[0][0].removeprefix("__label__"))] for text, _ in test]
    found["fastText"] = sum(one == label for one, (_, label) in zip(guesses, test, strict=True)) / len(test)

print(json.dumps(found))
