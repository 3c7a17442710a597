"""What customers write: many phrasings a motive, in two languages, with the noise of real typing. Pure: one seeded generator in."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from random import Random
from typing import Any

import yaml

_NEIGHBOURS = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "wa", "r": "et", "s": "ad", "t": "ry", "u": "yi",
    "v": "cb", "x": "zc", "y": "tu", "z": "x",
}  # fmt: skip
_ACCENTS = str.maketrans("áéíóúñÁÉÍÓÚ", "aeiounAEIOU")
_SHORT = {
    "es": {"que": "q", "por": "x", "porque": "xq", "también": "tb"},
    "en": {"you": "u", "please": "pls", "because": "bc", "your": "ur"},
}


@dataclass(frozen=True, slots=True)
class Phrasebook:
    """The phrases of one language: openers, closers, slot values, and the core sentences of each motive."""

    language: str
    openers: Sequence[str]
    closers: Sequence[str]
    slots: Mapping[str, Sequence[str]]
    motives: Mapping[str, Sequence[str]]
    causes: Mapping[str, Sequence[str]]
    answers: Mapping[str, Sequence[str]]

    @classmethod
    def load(cls, language: str) -> "Phrasebook":
        raw: dict[str, Any] = yaml.safe_load((files(__package__) / "phrases" / f"{language}.yaml").read_text("utf-8"))
        names = ("openers", "closers", "slots", "motives", "causes", "answers")
        return cls(language, *(raw[name] for name in names))


def compose(random: Random, book: Phrasebook, motive: str, cause: str | None, name: str) -> str:
    """One customer's text about a motive: one or two core sentences, sometimes greeted, closed and signed, then noised."""
    cores = book.motives[motive]
    count = 2 if len(cores) > 1 and random.random() < 0.45 else 1
    sentences = random.sample(list(cores), count)
    if cause:
        sentences.append(random.choice(book.causes[cause]))
    if random.random() < 0.55:
        sentences.insert(0, random.choice(book.openers))
    if random.random() < 0.5:
        sentences.append(random.choice(book.closers))
    if random.random() < 0.15:
        sentences.append(name)
    text = " ".join(_filled(random, book, sentence) for sentence in sentences)
    return noised(random, text, book.language)


def _filled(random: Random, book: Phrasebook, sentence: str) -> str:
    def value(match: re.Match[str]) -> str:
        slot = match.group(1)
        if slot == "n":
            return str(random.randint(2, 9))
        if slot == "amount":
            return f"{random.randint(8, 240)}.{random.randint(0, 9)}00"
        if slot == "ticket":
            return f"{random.randint(100000, 999999)}"
        return random.choice(book.slots[slot])

    return re.sub(r"\{(\w+)\}", value, sentence)


def noised(random: Random, text: str, language: str) -> str:
    """Typing as it comes in: each writer is careful, ordinary or hasty; errors per word rise with haste (0.2 %, 2 %, 7 %)."""
    haste = random.choices((0.002, 0.02, 0.07), (0.4, 0.4, 0.2))[0]
    words = text.split(" ")
    for at, word in enumerate(words):
        if random.random() < haste * 1.5 and word.lower() in _SHORT[language]:
            words[at] = _SHORT[language][word.lower()]
        elif len(word) > 3 and random.random() < haste:
            words[at] = _typing_error(random, word)
    text = " ".join(words)
    if random.random() < 0.35:
        text = text.translate(_ACCENTS)
    if random.random() < 0.06:
        text = text.upper()
    elif random.random() < 0.25:
        text = text.lower()
    if random.random() < 0.1:
        text = text.replace(",", "").rstrip(".") + random.choice(("!!!", "...", "!!", " :("))
    return text


def _typing_error(random: Random, word: str) -> str:
    at = random.randrange(1, len(word) - 1)
    kind = random.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    near = _NEIGHBOURS.get(word[at].lower())
    return word[:at] + random.choice(near) + word[at + 1 :] if near else word
