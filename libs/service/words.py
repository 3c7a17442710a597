"""A sentence in both languages, for whatever a person reads before anybody knows in which one."""

from collections.abc import Sequence
from typing import Literal, Self

Language = Literal["es", "en"]


class Words(str):
    """A sentence in both languages: English itself, Spanish as `es`."""

    __slots__ = ("es",)
    es: str

    def __new__(cls, en: str, es: str) -> Self:
        words = super().__new__(cls, en)
        words.es = es
        return words


def said(text: str, language: Language) -> str:
    """A text in the reader's language, as far as it is there in both."""
    return text.es if language == "es" and isinstance(text, Words) else text


def joined(texts: Sequence[str]) -> Words:
    """Several sentences as one."""
    return Words("; ".join(texts), "; ".join(said(text, "es") for text in texts))


def one_of(allowed: Sequence[str], name: str = "") -> Words:
    """Which values there are, of the parameter of this name."""
    listed, whose = ", ".join(allowed), f"{name}: " if name else ""
    return Words(f"{whose}one of {listed}", f"{whose}uno de {listed}")
