"""What the monitor has judged so far, as bytes: a service started again goes on from there instead of judging three years anew.

Arrays keep every digit, so that what is judged from a snapshot is what would have been judged without it. Nothing is pickled: bytes that
were tampered with are numbers at worst.
"""

import io
import json
import zipfile
from dataclasses import astuple
from datetime import date, timedelta
from typing import Any

import numpy as np

from libs.events.catalogue.findings import Verdict
from services.classification.domain.borrowing import Borrowed
from services.classification.domain.episodes import Episode, Numbers
from services.classification.domain.judges import Judges
from services.classification.domain.watch import Watch

VERSION = 4
"""Of this form. Another one is ignored, and made anew."""


class Unreadable(ValueError):
    """These bytes are no snapshot of this version."""


def pack(watch: Watch, judges: Judges) -> tuple[date, bytes] | None:
    """The newest state that is kept to go back to: the first day not judged in it, and the bytes; None where nothing is kept."""
    assert watch.origin is not None
    state = judges.newest()
    if state is None:
        return None
    at, lots = state
    until = watch.newest_kept()
    assert until is not None
    column = (until - watch.origin).days
    arrays: dict[str, np.ndarray] = {}
    trails = {
        str(row): [(day, _episode(one)) for day, one in trail if day < column] for row, trail in watch.trails_by_row()
    }
    shape = {
        "version": VERSION,
        "origin": watch.origin.isoformat(),
        "keys": [list(map(list, key)) for key in watch.keys],
        "trails": {row: trail for row, trail in trails.items() if trail},
        "until": until.isoformat(),
        "judges": [judges.begin, judges.asked, judges.calm_days, at],
        "lots": _flat(lots, "lots", arrays),
        "series": [
            _flat({name: getattr(lot.panel, name) for name in ("blocks", "quiet", "offsets")}, f"series{number}", arrays)
            for number, lot in enumerate(judges.lots)
        ],
    }  # fmt: skip
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("shape.json", json.dumps(shape, separators=(",", ":")))
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w") as part:
                np.lib.format.write_array(part, np.ascontiguousarray(array), allow_pickle=False)
    return until, held.getvalue()


def unpack(body: bytes, watch: Watch) -> None:
    """Into a watch that holds nothing yet; its counts are filled in afterwards. Raises Unreadable."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as file:
            shape = json.loads(file.read("shape.json"))
            if shape["version"] != VERSION:
                raise Unreadable(f"version {shape['version']}")
            arrays = {
                name[:-4]: np.lib.format.read_array(io.BytesIO(file.read(name)), allow_pickle=False)
                for name in file.namelist()
                if name.endswith(".npy")
            }
        begin, asked, calm_days, at = shape["judges"]
        judges = Judges(begin, asked, calm_days, watch.rules.holidays)
        judges.restore(at, _whole(shape["lots"], arrays), [_whole(one, arrays) for one in shape["series"]])
        keys = [tuple((name, value) for name, value in key) for key in shape["keys"]]
        trails = {int(row): [(day, _back(one)) for day, one in trail] for row, trail in shape["trails"].items()}
        origin, until = date.fromisoformat(shape["origin"]), date.fromisoformat(shape["until"])
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise Unreadable(str(error)) from error
    watch.resume(origin, keys, trails, judges, until - timedelta(days=1))


def _flat(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """As JSON, arrays put aside under names."""
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, dict):
        return {"map": {key: _flat(one, f"{name}-{key}", arrays) for key, one in value.items()}}
    if isinstance(value, list | tuple):
        return [_flat(one, f"{name}-{number}", arrays) for number, one in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _whole(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if "array" in value:
            return arrays[value["array"]]
        return {key: _whole(one, arrays) for key, one in value["map"].items()}
    if isinstance(value, list):
        return [_whole(one, arrays) for one in value]
    return value


def _episode(one: Episode) -> list[Any]:
    numbers = [getattr(one.numbers, name) for name in Numbers.__dataclass_fields__ if name != "borrowed"]
    borrowed = one.numbers.borrowed
    numbers.append(None if borrowed is None else astuple(borrowed))
    return [one.start, one.verdict.value, one.decided, one.last_alarm, numbers, one.ended]


def _back(held: list[Any]) -> Episode:
    start, verdict, decided, last_alarm, numbers, ended = held
    *own, borrowed = numbers
    known = Numbers(*[*own, None if borrowed is None else Borrowed(*borrowed)])
    return Episode(start, Verdict(verdict), decided, last_alarm, known, ended)
