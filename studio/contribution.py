"""Takes in what a contributor hands over: a folder, an archive or single files, as data.

Only files of known names are copied; everything else is left behind and named. Nothing is written
outside of the folder given, and nothing stays there when something is wrong.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

from protocols.core.errors import UserError

KNOWN = frozenset(
    {
        *("adapter_config.json", "adapter_model.safetensors", "config.json", "README.md"),
        *("generation_config.json", "model.safetensors", "model.safetensors.index.json"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json"),
        *("merges.txt", "tokenizer.model", "added_tokens.json", "chat_template.jinja", "LICENSE"),
    }
)
SHARD = "model-?????-of-?????.safetensors"
MAX_FILES = 400
MAX_BYTES = 16 * 2**30
"""Of all files that are taken over."""
MAX_UPLOAD = 256 * 2**20
"""Of what comes over the web: an adapter, not a base model."""
PIECE = 2**20
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(NotImplementedError, RuntimeError, EOFError),
)
"""What a damaged or odd archive raises; the decompressors' errors share no base."""


@dataclass(frozen=True)
class Taken:
    """What was taken over into ``folder`` and what was left behind."""

    folder: Path
    files: tuple[str, ...]
    left: tuple[str, ...]


@contextmanager
def staged(workspace: Path) -> Iterator[Path]:
    """A fresh folder in the workspace that is gone afterwards, whatever happens."""
    root = workspace / "incoming"
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=root) as name:
        yield Path(name)


def take(sources: Sequence[Path], into: Path, most: int = MAX_BYTES) -> Taken:
    """Copy a folder, an archive, or single files into an empty folder.

    Raises :class:`UserError` with one sentence for what cannot be taken.
    """
    if not sources:
        raise UserError("Nothing was handed over. Give a folder, a zip archive, or the files.")
    first = sources[0]
    try:
        if len(sources) == 1 and first.is_dir():
            return _from_files(sorted(first.iterdir()), into, most)
        if len(sources) == 1 and first.suffix.casefold() == ".zip":
            return _from_zip(first, into, most)
        return _from_files(list(sources), into, most)
    except OSError as error:
        raise UserError(f"'{first.name}' cannot be read: {error.strerror or error}.") from None


def is_known(name: str) -> bool:
    """Whether a file of this name belongs to a model."""
    return name in KNOWN or PurePosixPath(name).match(SHARD)


def _from_files(paths: Sequence[Path], into: Path, most: int) -> Taken:
    if len(paths) > MAX_FILES:
        raise UserError(f"There are {len(paths):,} files; at most {MAX_FILES} are looked at.")
    taken: list[str] = []
    for path in paths:
        if not is_known(path.name):
            continue
        if path.is_symlink() or not path.is_file():
            raise UserError(f"'{path.name}' is no ordinary file but a link, a folder or a device.")
        with path.open("rb") as source:
            most -= _copy(source, into / path.name, most)
        taken.append(path.name)
    return _taken(into, taken, [path.name for path in paths])


def _from_zip(path: Path, into: Path, most: int) -> Taken:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            _check_members(members)
            taken: list[str] = []
            for info in members:
                name = PurePosixPath(info.filename).name
                if not is_known(name):
                    continue
                if name in taken:
                    raise UserError(f"The archive has '{name}' twice. Pack one model's folder.")
                with archive.open(info) as source:
                    most -= _copy(source, into / name, most)
                taken.append(name)
    except UNREADABLE as error:
        raise UserError(f"'{path.name}' is not a zip archive that can be read.") from error
    return _taken(into, taken, [PurePosixPath(info.filename).name for info in members])


def _check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    """Nothing but ordinary files inside of the archive's own folder."""
    if len(members) > MAX_FILES:
        raise UserError(f"The archive has {len(members):,} files; at most {MAX_FILES} are read.")
    for info in members:
        parts = PurePosixPath(info.filename).parts
        if ".." in parts or info.filename.startswith("/") or "\\" in info.filename:
            raise UserError("The archive has a file that points outside of it. Pack it again.")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise UserError(f"The archive has a link or device: '{parts[-1][:60]}'. Leave it out.")
        if info.flag_bits & 1:
            raise UserError("The archive is encrypted. Pack it without a password.")


def _copy(source: IO[bytes], target: Path, most: int) -> int:
    """Copy at most ``most`` bytes, counted as they come: what an archive claims is no limit."""
    written = 0
    with target.open("xb") as file:
        while piece := source.read(PIECE):
            written += len(piece)
            if written > most:
                raise UserError(f"The files are too large: '{target.name}' goes beyond the limit.")
            file.write(piece)
    return written


def _taken(folder: Path, taken: Sequence[str], seen: Sequence[str]) -> Taken:
    if not any(name.endswith(".safetensors") for name in taken):
        told = ", ".join(sorted(seen)[:4])[:120] or "none"
        raise UserError(f"There are no safetensors weights among the files ({told}).")
    return Taken(folder, tuple(taken), tuple(sorted(set(seen) - set(taken))))


def keep(folder: Path, target: Path) -> None:
    """Move a folder that was checked to its place; what a killed process left there goes."""
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, target)
