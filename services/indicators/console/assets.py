"""What the pages load: own files, and Vega from the installed wheel. Every name holds a hash, so browsers keep it for good."""

import asyncio
import hashlib
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

STATIC = Path(__file__).parent / "static"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
# A process of its own: the JavaScript engine that bundles takes 150 MB, and this one is to stay small.
_BUNDLE = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle().encode())"


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/lazo`, else `~/.cache/lazo`, else (a home that cannot be written) the temporary directory."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "lazo"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"lazo-{os.getuid()}"
        folder.mkdir(exist_ok=True, mode=0o700)
    return folder


class Assets:
    """Own files with the hash of all of them in the path, and the chart library, written once."""

    def __init__(self, folder: Path | None = None) -> None:
        self.files = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in TYPES}
        digest = hashlib.sha256()
        for name, content in self.files.items():
            digest.update(name.encode() + b"\0" + content)
        self.hash = digest.hexdigest()[:12]
        self._folder = folder
        self._lock = asyncio.Lock()
        self._vega: tuple[str, bytes] | None = None

    def url(self, name: str) -> str:
        """The path a page names."""
        return f"/static/{self.hash}/{name}"

    def file(self, name: str) -> tuple[bytes, str] | None:
        """Content and media type of an own file."""
        content = self.files.get(name)
        return None if content is None else (content, TYPES[Path(name).suffix])

    async def vega(self) -> tuple[str, bytes]:
        """Name (with the hash of its content) and content of the chart library; made from the wheel at first use."""
        async with self._lock:
            if self._vega is None:
                folder = self._folder or cache_folder()
                stem = f"vega-{version('vl-convert-python')}"
                self._vega = _kept(folder, stem) or await _written(folder, stem)
            return self._vega


def _kept(folder: Path, stem: str) -> tuple[str, bytes] | None:
    for path in folder.glob(f"{stem}-*.js"):
        content = path.read_bytes()
        if path.name == _name(stem, content):  # a file cut short by a full disk has another hash
            return path.name, content
    return None


def _name(stem: str, content: bytes) -> str:
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}.js"


async def _written(folder: Path, stem: str) -> tuple[str, bytes]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _BUNDLE, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(60):
            content, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0 or len(content) < 100_000:
        raise RuntimeError(f"the chart library could not be taken from vl-convert (exit {process.returncode})")
    name = _name(stem, content)
    part = folder / f".{name}.{os.getpid()}"
    part.write_bytes(content)
    part.replace(folder / name)  # another process may write the same: one whole file wins
    return name, content
