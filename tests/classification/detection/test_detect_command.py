"""`lazo detect` as somebody else's program uses it."""

import csv
import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from services.__main__ import _plug_in, app
from services.classification.counts_file import ordinal_of, read, relative
from services.classification.detect_drawing import Drawing
from services.classification.domain.detection.engine import Asked, judge

RUNNER = CliRunner()
_plug_in()
HEADER = ["series", "date", "count", "expected", "upper", "score", "alarm", "kind"]


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZO_LANGUAGE", "en")


def detect(path: Path, *options: str, out: Path | None = None) -> tuple[int, str, list[dict[str, str]]]:
    target = out or path.with_suffix(".alarms.csv")
    done = RUNNER.invoke(app, ["detect", str(path), "--out", str(target), *options])
    rows = list(csv.DictReader(target.read_text("utf-8").splitlines())) if target.exists() else []
    return done.exit_code, done.output, rows


def written(tmp_path: Path, text: str, name: str = "counts.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def streams(days: int = 200, series: int = 5, seed: int = 1) -> list[str]:
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(series):
        begin = date(2024, 1, 1) + timedelta(days=number * 17)
        for day in range(days - number * 17):
            count = int(rng.poisson(3 + number) * (3 if day > 150 else 1))
            lines.append(f"s{number},{begin + timedelta(days=day)},{count},{max(count - 1, 0)}")
    return lines


@pytest.mark.parametrize(("freq", "keep"), [("day", 100), ("day", 161), ("week", 180)])
def test_cutting_the_file_off_leaves_every_earlier_row_as_it_was(tmp_path: Path, freq: str, keep: int) -> None:
    """Strictly on-line: the row at t uses nothing after t, whatever other series begin later."""
    lines = streams(330 if freq == "week" else 200)
    if freq == "week":
        lines = [line for line in lines if ordinal_of(line.split(",")[1])[0] % 7 == 1]
    last = (date(2024, 1, 1) + timedelta(days=keep)).isoformat()
    head = "series,date,count,customers\n"
    whole = detect(written(tmp_path, head + "\n".join(lines), "whole.csv"), "--freq", freq)[2]
    cut = detect(
        written(tmp_path, head + "\n".join(line for line in lines if line.split(",")[1] <= last), "cut.csv"),
        "--freq",
        freq,
    )[2]
    assert cut == [row for row in whole if row["date"] <= last]
    assert len(cut) > 20


def test_columns_come_in_any_order_gaps_are_zeros_and_the_answer_has_its_columns(tmp_path: Path) -> None:
    text = "count;date;note;series\n2;2024-01-01;x;a\n1;2024-01-05;y;a\n"
    code, output, rows = detect(written(tmp_path, text), "--json")
    assert code == 0
    assert list(rows[0]) == HEADER
    assert [(row["date"], row["count"]) for row in rows] == [
        ("2024-01-01", "2"), ("2024-01-02", "0"), ("2024-01-03", "0"), ("2024-01-04", "0"), ("2024-01-05", "1"),
    ]  # fmt: skip
    summary = json.loads(output.splitlines()[-1])
    assert summary["series"] == 1
    assert summary["rows"] == 5
    assert summary["alarms"] == 0


def test_start_leaves_out_what_is_only_past(tmp_path: Path) -> None:
    path = written(tmp_path, "series,date,count,customers\n" + "\n".join(streams()))
    full = detect(path)[2]
    late = detect(path, "--start", "2024-06-01", out=tmp_path / "late.csv")[2]
    assert late == [row for row in full if row["date"] >= "2024-06-01"]
    assert any(row["alarm"] == "1" for row in late)


def test_repeated_and_unordered_dates_in_two_formats_are_added_up_and_said(tmp_path: Path) -> None:
    text = "series,date,count\na,03/01/2024,4\na,2024-01-01,1\na,2024-01-03,2\n"
    code, output, rows = detect(written(tmp_path, text))
    assert code == 0
    assert [row["count"] for row in rows] == ["1", "0", "6"]
    assert "1 rows repeat" in output
    assert "2 formats" in output


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,2024-01-02,-1", "counts.csv:3: count must be a whole number from 0 on, not “-1”"),
        ("a,2024-01-02,1.5", "whole number"),
        ("a,2024-01-02,NaN", "whole number"),
        ("a,2024-01-02,inf", "whole number"),
        ("a,2024-01-02,", "whole number"),
        ("a,2024-13-02,1", "is no date"),
        ("a,yesterday,1", "is no date"),
        ("a", "incomplete"),
        ("a,9999-01-02,1", "span"),
    ],
)
def test_what_cannot_be_used_is_told_by_its_line_and_nothing_is_written(tmp_path: Path, row: str, said: str) -> None:
    code, output, rows = detect(written(tmp_path, f"series,date,count\na,2024-01-01,1\n{row}\n"))
    assert code == 1
    assert said in output
    assert rows == []
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("series,date,count\n", "no rows"),
        ("series,count\na,1\n", "column date is missing"),
        ("\xff\xfe", ""),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str, said: str) -> None:
    code, output, _ = detect(written(tmp_path, text))
    assert code == 1
    assert said in output


def test_messages_are_spanish_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZO_LANGUAGE", "es")
    assert "no es una fecha" in detect(written(tmp_path, "series,date,count\na,ayer,1\n"))[1]


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "series,date,count\na,2024-01-01,1\n")
    for options in (("--far", "0"), ("--far", "0.9"), ("--episodes", "0"), ("--start", "soon"), ("--explain", "b")):
        code, output, _ = detect(path, *options)
        assert code == 1, options
        assert output.startswith("lazo: ")
    assert detect(path, "--freq", "month")[0] == 2


def test_a_series_is_explained_on_the_terminal_and_as_a_drawing(tmp_path: Path) -> None:
    path = written(tmp_path, "series,date,count,customers\n" + "\n".join(streams()))
    code, output, _ = detect(path, "--explain", "s0", "--svg", str(tmp_path / "s0.svg"))
    assert code == 0
    assert "!" in output
    assert "expected" in output
    drawn = (tmp_path / "s0.svg").read_text("utf-8")
    assert drawn.startswith("<svg")
    assert drawn.count("<rect") == 180


@pytest.mark.parametrize(
    ("counts", "exposure"),
    [
        ([0] * 400, None),
        ([7], None),
        ([20, 18, 22, 19, 21] * 50 + [0] * 150, None),
        ([20, 18, 22, 19, 21] * 60, ["", "0", *["1000"] * 8] * 30),
    ],
    ids=["all zeros", "one row", "a series that stops", "exposure zero or missing for some days"],
)
def test_odd_series_are_taken_and_say_nothing(tmp_path: Path, counts: list[int], exposure: list[str] | None) -> None:
    shown = exposure or [""] * len(counts)
    lines = [
        f"a,{date(2024, 1, 1) + timedelta(days=day)},{count},{shown[day]}\n"
        # Beside it one that began long ago, so that a series ends or begins inside the file's dates.
        f"b,{date(2023, 12, 1) + timedelta(days=day)},{3 + day % 2},\n"
        for day, count in enumerate(counts)
    ]
    code, output, rows = detect(written(tmp_path, "series,date,count,exposure\n" + "".join(lines)))
    assert (code, len(rows)) == (0, 2 * len(counts))
    assert " 0 alarmed in 0 series; 0 isolated rises" in output
    assert [int(row["count"]) for row in rows if row["series"] == "a"] == counts


def test_a_drawing_fits_the_terminal_says_its_marks_and_is_coloured_only_where_asked(tmp_path: Path) -> None:
    path = written(tmp_path, "series,date,count,customers\n" + "\n".join(streams()))
    named = read(path, "day").series[0]
    told = next(iter(judge("day", [named.data], Asked(0.01, None, ()))))[1]
    drawn = {spanish: Drawing.of(named, "day", None, told, spanish=spanish) for spanish in (False, True)}
    for spanish, said in ((False, "cases, "), (True, "casos, se esperaban ")):
        drawing = drawn[spanish]
        for width in (80, 120):
            text = drawing.terminal(width)
            assert max(len(line) for line in text.splitlines()) <= width
            assert said in text
            assert ("cada barra son" if spanish else "each bar stands for") in text
            assert "\x1b" not in text
            coloured = drawing.terminal(width, colour=True)
            assert "\x1b[31m" in coloured
            assert re.sub(r"\x1b\[\d+m", "", coloured) == text
            assert bool(re.search(r"\d,\d", text)) is spanish
    days = len(drawn[True].days)
    quiet = replace(drawn[True], alarms=[False] * days, kinds=[0] * days)
    assert "sin alarmas ni subidas aisladas" in quiet.terminal()


def test_a_drawing_from_a_day_after_the_last_one_shows_no_earlier_days(tmp_path: Path) -> None:
    path = written(tmp_path, "series,date,count\na,2024-01-01,5\na,2024-01-02,4\n")
    code, output, _ = detect(path, "--explain", "a", "--start", "2025-01-01")
    assert code == 0
    assert "there are no dates to show" in output
    assert "█" not in output


def test_a_series_that_is_not_there_is_told_with_those_called_alike(tmp_path: Path) -> None:
    code, output, _ = detect(written(tmp_path, "series,date,count\nbilling,2024-01-01,5\n"), "--explain", "biling")
    assert code == 1
    assert output.strip() == "lazo: there is no series “biling”; alike: billing"


def test_a_drawing_goes_to_standard_output_also_when_progress_is_on_the_terminal(tmp_path: Path) -> None:
    """The bar of the terminal took what was written while it stood: `--explain s > file` left the file empty."""
    path = written(tmp_path, "series,date,count\n" + "".join(f"a,2024-01-{day:02d},3\n" for day in range(1, 29)))
    main, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "services", "detect", str(path), "--explain", "a"],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm"},
        check=True,
        timeout=60,
    )
    os.close(terminal)
    os.close(main)
    assert "█" in done.stdout.decode()
    assert "no alarm and no isolated burst" in done.stdout.decode()


def test_a_missing_exposure_is_as_it_last_was_and_a_zero_beside_a_count_is_missing() -> None:
    nan = float("nan")
    given = np.array([nan, 100.0, nan, 0.0, 0.0, 200.0, nan])
    shares = relative(given, np.array([1, 1, 1, 0, 3, 1, 1]))
    assert shares is not None
    assert shares.tolist() == [1.0, 1.0, 1.0, 1e-6, 1.0, 2.0, 2.0]
    assert relative(np.array([nan, 0.0]), np.array([0, 0])) is None


def test_what_waits_for_its_turn_waits_on_disk_and_comes_in_the_files_order(tmp_path: Path) -> None:
    """Series are judged by when they begin; the first one named here begins last."""
    lines = [f"s{number},{date(2024, 3, 30) - timedelta(days=number)},{number % 3}" for number in range(70)]
    rows = detect(written(tmp_path, "series,date,count\n" + "\n".join(lines) + "\n"))[2]
    assert [row["series"] for row in rows] == [f"s{number}" for number in range(70)]
    assert [row["count"] for row in rows] == [str(number % 3) for number in range(70)]
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_few_rows_that_would_span_too_much_together_are_refused_before_anything_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.classification.counts_file.MOST", 5_000)
    text = "series,date,count\n" + "".join(f"s{n},2020-01-01,1\ns{n},2024-01-01,1\n" for n in range(4))
    code, output, rows = detect(written(tmp_path, text))
    assert code == 1
    assert "5848 periods together, more than 5000" in output
    assert rows == []


def test_reading_says_how_far_it_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.classification.counts_file.SAID", 100)
    path = written(tmp_path, "series,date,count\n" + "\n".join(line.rsplit(",", 1)[0] for line in streams()) + "\n")
    heard: list[int] = []
    read(path, "day", heard.append)
    assert len(heard) > 20
    assert sum(heard) == path.stat().st_size
