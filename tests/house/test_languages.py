"""Whatever a person may read about a problem exists in Spanish and in English.

A detail is a `Words`, or a sentence a service already chose by the reader's language; a plain string is neither. Which is
which is seen in the source: an expression nobody knows to be in both languages is refused, so nothing can be forgotten.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter

import pytest
from pydantic_core.core_schema import ErrorType

from libs.service.http.problems import _BY_STATUS, TITLES, FieldError, Problem, from_validation
from libs.service.words import Words
from services.intake.domain.faults import EXPECTED, SENTENCES
from services.intake.domain.faults import TITLES as INTAKE_TITLES
from services.intake.domain.reasons import SPANISH, UNKNOWN, in_spanish
from tests.house.source import ROOT, dotted, relative, tracked

# Where the detail stands in a call: its place among the arguments, and its name.
PLACES = {
    "Problem": (2, "detail"),
    "FieldError": (2, "detail"),
    "Problem.field": (2, "detail"),
    "Problem.unavailable": (0, "detail"),
    "Wrong": (2, "words"),
    "BadToken": (0, "words"),
    "WrongSignature": (0, "words"),
}
BOTH = {"Words", "joined", "one_of", "words_of"}  # these give both languages
CHOSEN = {
    "say",
    "t",
    "sentence",
    "text",
}  # these were handed the reader's: say(code, request), voice.t(…), refused.text(…)
BOTH_ATTRIBUTES = {"words"}  # typed Words where they are declared, which mypy holds
# Rooms whose plain details are names of fields and lists of values, alike in both languages.
ALIKE = {
    "services/classification/api/findings.py: f\"state: {', '.join(STATES)}\"",
    "services/classification/api/inputs.py: f\"unit: {', '.join(UNITS)}\"",
    "services/classification/api/inputs.py: f\"{name}: {', '.join(allowed)}\"",
    "services/classification/api/rulebook.py: 'If-Match'",
    "services/classification/api/verdicts.py: 'until'",
    # Placed by line and column, in the language that was asked for (`item.problem(language)`).
    "services/classification/api/rulebook.py: detail",
}


@cache
def sources() -> list[Path]:
    """Files of ours in which one of these calls can stand; parsing all of them would take three seconds."""
    wanted = re.compile(r"\b(Problem|FieldError|Wrong|BadToken|WrongSignature|ValueError|PydanticCustomError)\b")
    ours = (path for path in tracked() if path.suffix == ".py" and relative(path).startswith(("libs/", "services/")))
    return [path for path in ours if wanted.search(path.read_text(encoding="utf-8"))]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def assigned(scope: ast.AST, name: str) -> list[ast.expr]:
    """What a name is given within a function or module."""
    found: list[ast.expr] = []
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            found.append(value)
    return found


def spoken(detail: ast.expr, scopes: list[ast.AST]) -> bool:
    """Whether an expression is known to be in the reader's language."""
    match detail:
        case ast.Constant(value=""):
            return True
        case ast.Call(func=function):
            return dotted(function).rpartition(".")[2] in BOTH | CHOSEN
        case ast.Attribute(attr=name):
            return name in BOTH_ATTRIBUTES
        case ast.IfExp(body=body, orelse=other):
            return spoken(body, scopes) and spoken(other, scopes)
        case ast.Name(id="STARTING"):
            return True
        case ast.Name(id=name):
            for scope in reversed(scopes):
                if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
                    arguments = [*scope.args.args, *scope.args.kwonlyargs]
                    for given in arguments:
                        if given.arg == name:
                            return given.annotation is not None and ast.unparse(given.annotation) == "Words"
                if values := assigned(scope, name):
                    return all(spoken(value, scopes) for value in values)
    return False


def calls(tree: ast.AST, scopes: list[ast.AST]) -> Iterator[tuple[ast.Call, list[ast.AST]]]:
    inner = [*scopes, tree] if isinstance(tree, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) else scopes
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call):
            yield node, inner
        yield from calls(node, inner)


def unspoken(source: ast.Module) -> list[tuple[int, str]]:
    """Line and expression of every detail that is not known to be in both languages."""
    found = []
    for call, scopes in calls(source, []):
        name = dotted(call.func)
        place, keyword = PLACES.get(name, (None, ""))
        if place is None:
            continue
        details = (
            [call.args[place]]
            if len(call.args) > place
            else [each.value for each in call.keywords if each.arg == keyword]
        )
        found += [(call.lineno, ast.unparse(each)) for each in details if not spoken(each, scopes)]
    return found


def test_every_detail_of_a_problem_is_in_spanish_and_english() -> None:
    guilty = {
        f"{relative(path)}: {text}": line
        for path in sources()
        if path.name != "problems.py"
        for line, text in unspoken(tree_of(path))
    }
    unknown = {f"{text} (line {line})" for text, line in guilty.items() if text not in ALIKE}
    assert not unknown, "in one language only, as far as can be seen; use Words(english, spanish):\n" + "\n".join(
        sorted(unknown)
    )


@pytest.mark.parametrize(
    "call",
    [
        "Problem(404, 'not-found', 'nothing is here')",
        "Problem(404, 'not-found', detail=f'no {x}')",
        "Problem.field('/a', 'wrong', str(error))",
        "Problem.unavailable(reason)",
        "def f():\n    text = f'no {x}'\n    raise Problem(404, '', text)",
        "def f(text: str):\n    raise Problem(404, '', text)",
        "Wrong('to', 'empty', 'lies before')",
    ],
)
def test_a_plain_sentence_is_found(call: str) -> None:
    assert unspoken(ast.parse(call))


@pytest.mark.parametrize(
    "call",
    [
        "Problem(404)",
        "Problem.field('/a', 'wrong', Words('a', 'b'))",
        "def f():\n    text = Words('a', 'b')\n    raise Problem(404, '', text)",
        "def f(text: Words):\n    raise Problem(404, '', text)",
        "Problem(404, '', voice.t('missing'))",
        "Problem(401, '', error.words)",
    ],
)
def test_words_in_both_languages_are_left_in_peace(call: str) -> None:
    assert not unspoken(ast.parse(call))


def test_every_code_of_a_problem_has_a_title_in_both_languages() -> None:
    # Importing a service's API adds the titles of its own codes.
    import services.classification.api.context
    import services.intake.api.answers  # noqa: F401  # for what it registers

    titles = {**TITLES, **INTAKE_TITLES}
    for code, (english, spanish) in titles.items():
        assert english.strip(), code
        assert spanish.strip(), code
        assert english != spanish, code
    assert set(_BY_STATUS.values()) <= TITLES.keys()
    used = {
        (relative(path), call.args[1].value)
        for path in sources()
        for call, _ in calls(tree_of(path), [])
        if dotted(call.func) == "Problem"
        and len(call.args) > 1
        and isinstance(call.args[1], ast.Constant)
        and call.args[1].value
    }
    assert len(used) > 30
    assert not [(name, code) for name, code in used if code not in titles]


def test_a_validator_of_ours_says_why_in_both_languages() -> None:
    """What a model's validator raises becomes the detail of a field."""
    guilty = []
    for path in sources():
        if "/api/" not in relative(path):
            continue
        for call, scopes in calls(tree_of(path), []):
            name = dotted(call.func)
            if (name == "ValueError" and not (call.args and spoken(call.args[0], scopes))) or (
                name == "PydanticCustomError"
                and not (len(call.args) > 2 and '"es"' in ast.unparse(call.args[2]).replace("'", '"'))
            ):
                guilty.append(f"{relative(path)}:{call.lineno}")
    assert not guilty


def test_what_pydantic_says_is_said_in_spanish() -> None:
    names = {
        "expected",
        "pattern",
        "gt",
        "ge",
        "lt",
        "le",
        "expected_tags",
        "discriminator",
        "expected_version",
        "whole_digits",
    }
    names |= {"min_length", "max_length", "multiple_of", "max_digits", "decimal_places"}
    for kind in ErrorType.__args__:  # type: ignore[attr-defined]  # a Literal
        given = {"type": kind, "loc": ("body",), "msg": "Input should be wrong", "ctx": dict.fromkeys(names, 3)}
        detail = from_validation([given])[0].document("es")["detail"]
        assert detail.startswith("el cuerpo: "), kind
        assert "should" not in detail, kind
        assert "{" not in detail, kind


def test_a_value_error_with_words_keeps_both_languages() -> None:
    error = {
        "type": "value_error",
        "loc": ("form",),
        "msg": "Value error, one of a",
        "ctx": {"error": ValueError(Words("one of a", "uno de a"))},
    }
    found = from_validation([error])[0]
    assert (found.document("en")["detail"], found.document("es")["detail"]) == ("form: one of a", "form: uno de a")
    problem = Problem.fields([found, FieldError("/b", "x", Words("no", "nada"))])
    assert problem.document("es")["detail"] == "form: uno de a; nada"


def test_every_reason_a_cloudevent_is_refused_for_has_spanish() -> None:
    """Intake tells them; `libs.events` knows one language only."""
    tree = ast.parse((ROOT / "libs/events/cloudevent.py").read_text(encoding="utf-8"))
    reasons = {
        call.args[1].value
        for call, _ in calls(tree, [])
        if dotted(call.func) == "InvalidCloudEvent" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant)
    }
    assert len(reasons) > 20
    assert {reason for reason in reasons if reason not in SPANISH} == set()
    assert all(english != spanish for english, spanish in SPANISH.items())


@pytest.mark.parametrize(
    ("reason", "spanish"),
    [
        ("event 3: specversion must be 1.0", "evento 3: specversion debe ser 1.0"),
        ("Expecting value, line 2 column 7", "se esperaba un valor, línea 2 columna 7"),
        ("Invalid control character at, line 1 column 3", "carácter de control no válido, línea 1 columna 3"),
        ("NaN is no JSON number", "NaN no es un número JSON"),
        ("Input should be a valid thing", UNKNOWN),
    ],
)
def test_a_reason_is_told_in_spanish(reason: str, spanish: str) -> None:
    assert in_spanish(reason) == spanish


def test_both_languages_of_a_sentence_take_the_same_values() -> None:
    def taken(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    for code, (spanish, english) in {**SENTENCES, **EXPECTED}.items():
        assert taken(spanish) == taken(english), code
        assert not re.search(r"\b(the|must|is not)\b", spanish), code
