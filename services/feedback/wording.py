"""What customers read: messages from templates in Spanish and English, filled in a sandbox (R48, R90)."""

from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date
from jinja2 import FileSystemLoader, StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.feedback.domain.reach import LANGUAGES

FOLDER = Path(__file__).parent / "templates"
PURPOSES = ("acknowledgement", "answer", "response", "survey")

# What the customer reads for a kind of contact and for an outcome (R100: the customer's version stands beside it).
WORDS: Mapping[str, Mapping[str, str]] = {
    "es": {
        "complaint": "queja",
        "claim": "reclamo",
        "request": "petición",
        "suggestion": "sugerencia",
        "compliment": "felicitación",
        "inquiry": "consulta",
        "unknown": "solicitud",
        "upheld": "Le damos la razón.",
        "partly_upheld": "Le damos la razón en parte.",
        "not_upheld": "Después de revisarlo, no encontramos un error de nuestra parte.",
        "explained": "No encontramos una falla, pero sí algo que debimos explicar mejor.",
    },
    "en": {
        "complaint": "complaint",
        "claim": "claim",
        "request": "request",
        "suggestion": "suggestion",
        "compliment": "compliment",
        "inquiry": "inquiry",
        "unknown": "request",
        "upheld": "You were right.",
        "partly_upheld": "You were right in part.",
        "not_upheld": "Having looked into it, we did not find a mistake on our side.",
        "explained": "We found nothing broken, but something we should have explained better.",
    },
}


@lru_cache(maxsize=4096)
def long_date(day: date, language: str) -> str:
    """A local date in words; cached, because Babel takes about 40 µs and a batch shares few dates."""
    return format_date(day, format="full" if language == "en" else "d 'de' MMMM 'de' y", locale=language)


class Wording:
    """The templates, parsed once. Texts are plain: a channel that sends HTML escapes them itself."""

    def __init__(self, *, public_url: str, contact: Mapping[str, str], folder: Path = FOLDER) -> None:
        self._public_url = public_url.rstrip("/")
        self._contact = contact
        environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folder / "messages"),
            undefined=StrictUndefined,  # a misspelt variable fails the tests, not the customer
            autoescape=False,  # plain text; nothing here is HTML
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
        )
        self._templates: dict[tuple[str, str], Template] = {
            (purpose, language): environment.get_template(f"{purpose}.{language}.txt")
            for purpose in PURPOSES
            for language in LANGUAGES
        }

    def link(self, token: str) -> str:
        """The address of the customer's page."""
        return f"{self._public_url}/feedback/s/{token}"

    def text(
        self,
        purpose: str,
        language: str,
        *,
        number: str,
        kind: str,
        due: datetime,
        zone: ZoneInfo,
        outcome: str | None = None,
        said: str | None = None,
        token: str | None = None,
    ) -> str:
        """The message of one request. `said` is what the firm's people wrote: the answer's text or reason."""
        words = WORDS[language]
        values: dict[str, Any] = {
            "number": number,
            "kind": words[kind],
            "due": long_date(due.astimezone(zone).date(), language),
            "outcome": words.get(outcome or "", ""),
            "said": (said or "").strip(),
            "link": self.link(token) if token else "",
            "contact": self._contact.get(language, ""),
        }
        return self._templates[purpose, language].render(values).strip()
