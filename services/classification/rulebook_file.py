"""A rulebook's text (YAML; JSON is YAML too) read with the place of everything in it, so that each defect has line and column."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import yaml

from services.classification.domain.problems import Defect, Pointer
from services.classification.domain.rulebook import Rulebook
from services.classification.domain.rulebook_checks import check
from services.classification.rulebook_shape import shaped, what_else

MAX_BYTES = 4_000_000
_MAX_DEPTH = 30
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is six times as fast; not every platform has it


@dataclass(frozen=True, slots=True)
class Place:
    line: int  # 1-based, as editors count
    column: int


@dataclass(frozen=True, slots=True)
class Found:
    """A defect and where it stands."""

    defect: Defect
    place: Place

    def line(self, file: str, language: str) -> str:
        """`FILE:line:column: message`, the form editors jump to."""
        mark = {"es": "aviso: ", "en": "warning: "}["es" if language == "es" else "en"] if self.defect.warning else ""
        return f"{file}:{self.place.line}:{self.place.column}: {mark}{self.defect.message(language)}"

    def problem(self, language: str) -> dict[str, Any]:
        """The form of `errors[]` in a problem document, with the place beside it."""
        pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in self.defect.pointer)
        return {
            "pointer": pointer,
            "code": self.defect.code,
            "detail": self.defect.message(language),
            "line": self.place.line,
            "column": self.place.column,
            "warning": self.defect.warning,
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a text: the book when its shape is right, and everything that is wrong with it."""

    book: Rulebook | None
    found: Sequence[Found]

    @property
    def errors(self) -> list[Found]:
        return [item for item in self.found if not item.defect.warning]

    @property
    def sound(self) -> bool:
        return self.book is not None and not self.errors


def read(text: str | bytes, history: Sequence[tuple[int, Rulebook]] = ()) -> Reading:
    """Read and check a rulebook against the versions published before it (oldest first). Never raises for what the text holds."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        return _refused(Defect("too_large", (), {"limit": str(MAX_BYTES)}), Place(1, 1))
    try:
        decoded = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        place = Place(before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1)
        return _refused(Defect("syntax", (), {"detail": "UTF-8"}), place)
    reader = _Reader()
    try:
        value = reader.document(decoded)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
        return _refused(Defect("syntax", (), {"detail": error.problem or "YAML"}), place)
    except yaml.reader.ReaderError as error:
        upto = decoded[: error.position]
        place = Place(upto.count("\n") + 1, len(upto) - (upto.rfind("\n") + 1) + 1)
        return _refused(Defect("syntax", (), {"detail": str(error.reason)}), place)
    except RecursionError:
        return _refused(Defect("syntax", (), {"detail": "nested too deep"}), Place(1, 1))
    found = list(reader.found)
    if not isinstance(value, dict):
        return _refused(Defect("not_a_mapping", ()), Place(1, 1))
    book, defects = shaped(value)
    if book is not None:
        defects = check(book, history)
    elif any(item.defect.code == "alias" for item in found):
        defects = []  # nothing was read behind it
    else:
        defects += what_else(value, defects, history)
    found += [Found(defect, reader.place(defect.pointer)) for defect in defects]
    found.sort(key=lambda item: (item.place.line, item.place.column))
    return Reading(book, found)


def _refused(defect: Defect, place: Place) -> Reading:
    return Reading(None, [Found(defect, place)])


class _Reader:
    """Builds plain values from YAML's nodes and remembers the place of each.

    Not `safe_load`: that forgets places, lets the last of two equal keys win in silence, and expands aliases, with which a
    file of a few lines grows to gigabytes.
    """

    def __init__(self) -> None:
        self.places: dict[Pointer, Place] = {}
        self.found: list[Found] = []
        self._scalars = yaml.SafeLoader("")

    def document(self, text: str) -> object:
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            # Before anything is composed: libyaml takes a minute over a hundred thousand brackets.
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH + 1:
                raise RecursionError
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                self.found.append(Found(Defect("alias", ()), _place(event)))
                return {} if self.found else None
        node = yaml.compose(text, Loader=_LOADER)
        return None if node is None else self._value(node, (), 0)

    def place(self, pointer: Pointer) -> Place:
        """Where the pointer leads, or the nearest thing above it that exists."""
        while pointer not in self.places and pointer:
            pointer = pointer[:-1]
        return self.places.get(pointer, Place(1, 1))

    def _value(self, node: yaml.Node, pointer: Pointer, depth: int) -> object:
        if depth > _MAX_DEPTH:
            raise RecursionError
        self.places.setdefault(pointer, _place(node))
        if isinstance(node, yaml.MappingNode):
            mapping: dict[object, object] = {}
            for key_node, value_node in node.value:
                key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
                if key in mapping or not isinstance(key_node, yaml.ScalarNode):
                    code = "duplicate_key" if key in mapping else "syntax"
                    values = {"key": key} if key in mapping else {"detail": "key"}
                    self.found.append(Found(Defect(code, (*pointer, key), values), _place(key_node)))
                    continue
                self.places[(*pointer, key)] = _place(value_node)
                mapping[key] = self._value(value_node, (*pointer, key), depth + 1)
            return mapping
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*pointer, index), depth + 1) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _scalar(self, node: yaml.Node) -> object:
        assert isinstance(node, yaml.ScalarNode)
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            return node.value  # 2025-02-31 is no date: where one is expected that is said, elsewhere it is a text
        if isinstance(value, bool) and node.value.lower() not in {"true", "false"}:
            return node.value  # YAML 1.1 reads `no` and `on` as booleans; in a list of words they are words
        if isinstance(value, int | float) and not isinstance(value, bool) and _in_words(node):
            return node.value
        if isinstance(value, datetime):
            return value.date() if value == datetime.combine(value.date(), value.time().min) else node.value
        return value if isinstance(value, str | int | float | bool | date) or value is None else node.value


def _in_words(node: yaml.ScalarNode) -> bool:
    return any(character.isalpha() or character in ":_" for character in node.value)


def _place(node: yaml.Node | yaml.Event) -> Place:
    mark = node.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
