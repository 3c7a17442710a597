"""`lazo import`: every format, killed and run again, on a data directory and on a running server."""

from __future__ import annotations

import contextlib
import csv
import json
import mailbox
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import typer

from services.intake.cli import register

ROOT = Path(__file__).resolve().parents[2]
LAZO = [
    sys.executable,
    "-c",
    "import typer; from services.intake.cli import register; a = typer.Typer(); a.callback()(lambda: None); register(a); a()",
]
Lazo = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def lazo(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lazo:
    """Run `lazo import … --json` on a data directory; exit code, totals, what was said."""
    monkeypatch.setenv("LAZO_LANGUAGE", "en")
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)

    def run(*arguments: str | Path) -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        given = ["import", *map(str, arguments), "--data", str(tmp_path / "data"), "--json"]
        code = app(given, standalone_mode=False)
        said = capsys.readouterr()
        return code or 0, json.loads(said.out) if said.out else {}, said.err

    return run


def interactions(data: Path) -> int:
    with sqlite3.connect(f"file:{data / 'intake.db'}?mode=ro", uri=True) as connection:
        return connection.execute("SELECT count(*) FROM events WHERE stream LIKE 'interaction/%'").fetchone()[0]


def write_csv(path: Path, rows: list[list[str]], encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)
    return path


MAPPING = """
zone: America/Bogota
constants: {kind: claim, channel: phone}
fields: {external_id: ID, text: TEXTO, customer.id: CLIENTE}
missing: {occurred_at: {from: 2024-01-01, to: 2024-12-31}}
"""


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "m.yaml"
    path.write_text(MAPPING)
    return path


def test_a_csv_enters_once_however_often_it_is_imported(tmp_path: Path, lazo: Lazo, mapping: Path) -> None:
    rows = [["ID", "TEXTO", "CLIENTE"], *([str(n), f"línea uno\nlínea {n}", str(n % 7)] for n in range(1_200))]
    path = write_csv(tmp_path / "a.csv", rows)
    code, first, said = lazo(path, "--source", "files", "--mapping", mapping)
    assert (code, first["registered"], first["accepted"], first["rejected"]) == (0, True, 1_200, 0), said
    assert "Registered the source files" in said
    code, again, _ = lazo(path, "--source", "files", "--mapping", mapping)
    assert (code, again["registered"], again["accepted"], again["duplicates"]) == (0, False, 0, 1_200)
    assert interactions(tmp_path / "data") == 1_200
    assert not (tmp_path / "a.csv.rejected.ndjson").exists()


def test_refused_rows_go_to_a_file_beside_with_row_line_and_reason(tmp_path: Path, lazo: Lazo, mapping: Path) -> None:
    rows = [
        ["ID", "TEXTO", "CLIENTE"],
        ["1", "a\nb", "7"],
        ["2", "", "7"],
        ["3", "x"],
        ["4", "x\0y", "7"],
        ["5", "ok", "7"],
    ]
    path = write_csv(tmp_path / "a.csv", rows)
    code, totals, _ = lazo(path, "--source", "files", "--mapping", mapping)
    assert (code, totals["rows"], totals["accepted"], totals["rejected"]) == (0, 5, 2, 3)
    refused = [json.loads(line) for line in (tmp_path / "a.csv.rejected.ndjson").read_text().splitlines()]
    found = {item["row"]: (item["line"], item["errors"][0]["code"]) for item in refused}
    assert found == {2: (4, "nothing-said"), 3: (5, "unreadable-row"), 4: (6, "nul-character")}
    assert {item["row"]: item["values"]["ID"] for item in refused} == {2: "2", 3: "3", 4: "4"}
    assert totals["files"][0]["rejected_file"].endswith("a.csv.rejected.ndjson")


def test_a_killed_import_run_again_gives_exact_totals_G7(tmp_path: Path, lazo: Lazo, mapping: Path) -> None:
    total = 4_000
    rows = [["ID", "TEXTO", "CLIENTE"], *([str(n), f"texto {n} " * 20, str(n % 97)] for n in range(total))]
    path = write_csv(tmp_path / "a.csv", rows)
    command = [
        *LAZO,
        "import",
        str(path),
        "--source",
        "files",
        "--mapping",
        str(mapping),
        "--data",
        str(tmp_path / "data"),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(sqlite3.OperationalError):  # not there yet
                if interactions(tmp_path / "data") >= 500:
                    break
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = interactions(tmp_path / "data")
    assert 500 <= before < total, "the process was to be killed half-way"
    code, totals, said = lazo(path, "--source", "files", "--mapping", mapping)
    assert code == 0, said
    assert (totals["accepted"], totals["duplicates"]) == (total - before, before)
    assert (totals["different"], totals["rejected"]) == (0, 0)
    assert interactions(tmp_path / "data") == total


def test_without_a_mapping_columns_are_named_like_our_fields(tmp_path: Path, lazo: Lazo) -> None:
    rows = [
        ["external_id", "occurred_at", "customer.email", "text"],
        ["1", "2026-01-01T10:00:00-05:00", "a@x.co", "hola"],
        ["2", "2026-01-01T10:00:00", "a@x.co", "hola"],
    ]
    code, totals, _ = lazo(write_csv(tmp_path / "a.csv", rows), "--source", "files")
    assert (code, totals["accepted"], totals["rejected"]) == (0, 1, 1)


def test_json_ndjson_and_parquet_enter_too(tmp_path: Path, lazo: Lazo) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the parquet extra is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    made: list[dict[str, Any]] = [
        {"external_id": str(n), "occurred_at": "2026-01-01T10:00:00Z", "customer": {"id": str(n)}, "text": f"«{n}»"}
        for n in range(700)
    ]
    (tmp_path / "a.json").write_text(json.dumps(made[:300], indent=1))
    lines = [json.dumps(item) for item in made[300:500]]
    (tmp_path / "b.ndjson").write_text("\n".join([*lines, "{", '{"text":"a","text":"b"}', ""]))
    table = pyarrow.Table.from_pylist(
        [
            {**{k: v for k, v in item.items() if k != "customer"}, "customer.id": item["customer"]["id"]}
            for item in made[500:]
        ]
    )
    parquet.write_table(table, tmp_path / "c.parquet")
    code, totals, said = lazo(*(tmp_path / name for name in ("a.json", "b.ndjson", "c.parquet")), "--source", "files")
    assert (code, totals["accepted"], totals["rejected"]) == (0, 700, 2), said
    assert interactions(tmp_path / "data") == 700


def test_mail_enters_as_it_was_written_R10(tmp_path: Path, lazo: Lazo) -> None:
    def mail(number: int) -> EmailMessage:
        message = EmailMessage()
        message["From"] = "Ana Ruiz <ana@example.org>"
        message["Subject"] = "Factura «doble»"
        message["Date"] = "Thu, 01 Jan 2026 10:00:00 -0500"
        message["Message-ID"] = f"<m{number}@example.org>"
        message.set_content("Me cobraron dos veces.\n\nFrom siempre\n> cita\n")
        if number % 2:
            message.add_alternative("<p>Me cobraron <b>dos</b> veces.</p>", subtype="html")
        return message

    (tmp_path / "one.eml").write_bytes(mail(0).as_bytes())
    box = mailbox.mbox(tmp_path / "many.mbox")
    for number in range(1, 4):
        box.add(mail(number))
    box.close()
    code, totals, said = lazo(tmp_path / "one.eml", tmp_path / "many.mbox", "--source", "buzon")
    assert (code, totals["accepted"]) == (0, 4), said


def test_a_wrong_mapping_ends_at_once_and_names_the_column(tmp_path: Path, lazo: Lazo, mapping: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [["ID", "TEXT", "CLIENTE"], ["1", "x", "7"]])
    code, _, said = lazo(path, "--source", "files", "--mapping", mapping)
    assert code == 1
    assert "'TEXTO'" in said
    assert "did you mean 'TEXT'" in said


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'ID,TEXTO,CLIENTE\n1,"never closed,7\n' + b"x\n" * 1_200_000, "quotation mark"),
        (b"", "header"),
        (b"ID,ID,TEXTO\n1,2,3\n", "twice"),
    ],
)
def test_a_file_that_cannot_be_cut_into_rows_says_where(
    tmp_path: Path, lazo: Lazo, mapping: Path, content: bytes, named: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    code, _, said = lazo(path, "--source", "files", "--mapping", mapping)
    assert code == 1
    assert named in said


def test_a_wrong_encoding_is_said_row_by_row(tmp_path: Path, lazo: Lazo, mapping: Path) -> None:
    path = write_csv(
        tmp_path / "a.csv", [["ID", "TEXTO", "CLIENTE"], ["1", "señal", "7"], ["2", "plain", "7"]], encoding="mac_roman"
    )
    _, totals, _ = lazo(path, "--source", "files", "--mapping", mapping)
    assert (totals["accepted"], totals["rejected"]) == (1, 1)
    assert "encoding" in (tmp_path / "a.csv.rejected.ndjson").read_text()
    mapping.write_text("encoding: mac_roman\n" + MAPPING)
    _, totals, _ = lazo(path, "--source", "files", "--mapping", mapping)
    assert (totals["accepted"], totals["duplicates"], totals["rejected"]) == (1, 1, 0)


REAL = [
    ("cmf_reclamos_es/con_clas.csv", "cmf", {"rows": 1_005, "accepted": 999, "skipped": 6, "rejected": 0}),
    ("cmf_reclamos_es/sin_clas.csv", "cmf", {"rows": 100, "accepted": 100, "skipped": 0, "rejected": 0}),
    (
        "cfpb_narratives/Consumer_Complaints.csv",
        "cfpb",
        {"rows": 3_947, "accepted": 3_947, "skipped": 0, "rejected": 0},
    ),
]


@pytest.mark.parametrize(("file", "source", "expected"), REAL, ids=[name for name, _, _ in REAL])
def test_the_real_files_enter_with_exact_totals(
    shared_data: Path, tmp_path: Path, lazo: Lazo, file: str, source: str, expected: dict[str, int]
) -> None:
    copy = tmp_path / Path(file).name
    copy.write_bytes((shared_data / file).read_bytes())
    mapping = ROOT / "deploy" / "mappings" / f"{source}.yaml"
    code, totals, said = lazo(copy, "--source", source, "--mapping", mapping)
    assert code == 0, said
    assert {name: totals[name] for name in expected} == expected
    code, again, _ = lazo(copy, "--source", source, "--mapping", mapping)
    assert (again["accepted"], again["duplicates"]) == (0, expected["accepted"])
    assert interactions(tmp_path / "data") == expected["accepted"]
