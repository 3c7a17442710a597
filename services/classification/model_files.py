"""Models as directories: `manifest.json` beside one `.npy` per array. Written whole or not at all, read with suspicion.

No pickle anywhere. The manifest names every file with its length and SHA-256 and carries its own; anything missing, extra,
changed, half written, of another format or of other features is refused in one line. It has no dates and no places: the same
data give the same bytes.
"""

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.classification.domain.classifier import parts
from services.classification.domain.classifier.hierarchy import Hierarchy
from services.classification.domain.classifier.model import Classifier

MANIFEST = "manifest.json"
KIND, CODER = "lazo-classifier", "lazo-coder"
MOST_MANIFEST = 16 * 2**20
LARGEST = 256 * 2**20
LIBRARIES = ("numpy", "scikit-learn", "scipy")


class Unreadable(Exception):
    """A directory that is no whole model of ours. `code` names why; `values` fill the sentence a person reads."""

    def __init__(self, code: str, path: Path, **values: object) -> None:
        super().__init__(f"{path}: {code}")
        self.code, self.values = code, {"path": path, **values}


@dataclass(frozen=True, slots=True)
class Kept:
    """A model as it was read: `digest` identifies it, `manifest` tells where it comes from."""

    model: Classifier
    digest: str
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeptCoder:
    """The same of a model of motives and causes."""

    model: Hierarchy
    digest: str
    manifest: Mapping[str, Any]


def save(model: Classifier, directory: Path, *, data: str, rulebook_version: int | None = None) -> str:
    """Write the model; what was there is replaced at the end, in one rename. `data`: hash of the training data. The digest."""
    values, arrays = parts.taken_apart(model)
    digest, files = _written(KIND, values, arrays, model.encoder, data=data, rulebook_version=rulebook_version)
    _put(files, directory.absolute())
    return digest


def written(model: Hierarchy, *, data: str, rulebook_version: int) -> tuple[str, dict[str, bytes]]:
    """The digest and the files of a model of motives and causes: the same model gives the same bytes."""
    values, arrays = parts.hierarchy_apart(model)
    return _written(CODER, values, arrays, model.motive.encoder, data=data, rulebook_version=rulebook_version)


def read(files: Mapping[str, bytes], name: str) -> KeptCoder:
    """The model of motives and causes in these files, every byte checked. Raises Unreadable."""
    place = Path(name)
    if MANIFEST not in files:
        raise Unreadable("no_manifest", place)
    manifest = _checked(files[MANIFEST], place, CODER)
    listed = manifest["files"]
    for file in sorted({*listed} ^ {*files} - {MANIFEST}):
        raise Unreadable("missing" if file in listed else "foreign_file", place, file=file)
    arrays = {Path(file).stem: _array(files[file], row, place, file) for file, row in listed.items()}
    try:
        model = parts.hierarchy_together(manifest["model"], arrays)
    except parts.Foreign as error:
        raise Unreadable("changed", place, file=error.what) from None
    return KeptCoder(model, manifest["digest"], manifest)


def load(directory: Path) -> Kept:
    """The model, every byte checked. Raises Unreadable."""
    manifest = _manifest(directory)
    listed = manifest["files"]
    there = {path.name for path in directory.iterdir() if path.name != MANIFEST}
    for name in sorted({*listed} ^ there):
        raise Unreadable("missing" if name in listed else "foreign_file", directory, file=name)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, row in listed.items():
        path = directory / name
        if Path(name).name != name or path.suffix != ".npy" or path.is_symlink() or path.stat().st_size != row["bytes"]:
            raise Unreadable("changed", directory, file=name)
        arrays[path.stem] = _array(path.read_bytes(), row, directory, name)
    try:
        model = parts.put_together(manifest["model"], arrays)
    except parts.Foreign as error:
        raise Unreadable("changed", directory, file=error.what) from None
    return Kept(model, manifest["digest"], manifest)


def _written(
    kind: str,
    values: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    encoder: str | None,
    *,
    data: str,
    rulebook_version: int | None,
) -> tuple[str, dict[str, bytes]]:
    files = {f"{name}.npy": _bytes_of(array) for name, array in sorted(arrays.items())}
    manifest: dict[str, Any] = {
        "kind": kind,
        "format": parts.FORMAT,
        "data": data,
        "rulebook_version": rulebook_version,
        "libraries": libraries(encoder),
        "model": values,
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
    }
    digest = _digest(manifest)
    files[MANIFEST] = (
        json.dumps({**manifest, "digest": digest}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    ).encode()
    return digest, files


def _put(files: Mapping[str, bytes], directory: Path) -> None:
    if directory.exists() and not _replaceable(directory):
        raise Unreadable("in_the_way", directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        for name, content in files.items():
            with (fresh / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        fresh.chmod(0o755)
        if directory.exists():
            # Two renames: a directory cannot be replaced by one. Between them there is no model, never half of one.
            old = fresh.with_name(fresh.name + ".old")
            directory.rename(old)
            fresh.rename(directory)
            shutil.rmtree(old)
        else:
            fresh.rename(directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _array(content: bytes, row: Mapping[str, Any], where: Path, name: str) -> npt.NDArray[Any]:
    if len(content) != row["bytes"] or hashlib.sha256(content).hexdigest() != row["sha256"]:
        raise Unreadable("changed", where, file=name)
    try:
        array: npt.NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise Unreadable("changed", where, file=name) from None
    return array


def _manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    if not directory.is_dir():
        raise Unreadable("no_directory", directory)
    if not path.is_file():
        raise Unreadable("no_manifest", directory)
    if path.stat().st_size > MOST_MANIFEST:
        raise Unreadable("no_model", directory)
    return _checked(path.read_bytes(), directory, KIND)


def _checked(content: bytes, where: Path, kind: str) -> dict[str, Any]:
    """A manifest that is one of ours, whole and unchanged."""
    if len(content) > MOST_MANIFEST:
        raise Unreadable("no_model", where)
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError):
        raise Unreadable("half_written", where) from None
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        raise Unreadable("no_model", where)
    if manifest.get("format") != parts.FORMAT:
        raise Unreadable("other_format", where, found=manifest.get("format"), wanted=parts.FORMAT)
    digest = manifest.get("digest")
    if digest != _digest({name: value for name, value in manifest.items() if name != "digest"}):
        raise Unreadable("changed", where, file=MANIFEST)
    files = manifest.get("files")
    sound = isinstance(files, dict) and all(
        isinstance(row, dict) and {"bytes", "sha256"} <= row.keys() for row in files.values()
    )
    if not sound or not isinstance(manifest.get("model"), dict):
        raise Unreadable("changed", where, file=MANIFEST)
    if sum(int(row["bytes"]) for row in manifest["files"].values()) > LARGEST:
        raise Unreadable("too_large", where)
    return manifest


def _replaceable(directory: Path) -> bool:
    """An empty directory, or a model of ours, whole or not; never somebody's folder of other things."""
    if not directory.is_dir():
        return False
    return all(path.name == MANIFEST or path.suffix == ".npy" for path in directory.iterdir())


def _bytes_of(array: npt.NDArray[Any]) -> bytes:
    kept = io.BytesIO()
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    np.save(kept, np.ascontiguousarray(little), allow_pickle=False)
    return kept.getvalue()


def _digest(manifest: Mapping[str, Any]) -> str:
    canonical = json.dumps(manifest, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def libraries(encoder: str | None) -> dict[str, str]:
    """What else a model's bytes depend on: with another version a sum may differ in its last bit."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if encoder is not None:
        found["encoder"] = encoder
    return found
