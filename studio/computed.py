"""What takes long to compute is kept in a folder, each value under the key that it follows from.

A file that is damaged, is of other code, or cannot be read or written costs time only.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

log = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)
ENDING = ".json.gz"


class Kept(BaseModel, Generic[M]):
    """A value in its file, with the key it was computed under."""

    # The outermost model decides how NaN is written, whatever the value's own model says.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    key: str
    value: M


class Computed(Generic[M]):
    """Values of one kind kept in ``folder``, one file for each name. Safe to use from any thread.

    Of two processes that write at once one wins; nobody reads half a file.
    """

    def __init__(self, folder: Path, kind: type[M]) -> None:
        self.folder = folder
        self._kind: type[Kept[M]] = Kept[kind]  # type: ignore[valid-type]
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def get(self, name: str, key: str, build: Callable[[], M]) -> M:
        """Return the value kept under ``name`` if it has this ``key``, else build and keep it."""
        with self._turns[name]:
            found = self.find(name, key)
            if found is None:
                found = build()
                self.keep(name, key, found)
            return found

    def find(self, name: str, key: str) -> M | None:
        """Return the value kept under ``name`` if it has this ``key``."""
        path = self.path(name)
        try:
            kept = self._kind.model_validate_json(gzip.decompress(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, EOFError, zlib.error, ValidationError):
            log.info("The kept file %s is of no use", path.name)
            return None
        return kept.value if kept.key == key else None

    def keep(self, name: str, key: str, value: M) -> None:
        """Keep a value in place of the one before; equal values give equal bytes."""
        path = self.path(name)
        text = self._kind(key=key, value=value).model_dump_json()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=path.parent, delete=False) as draft:
                draft.write(gzip.compress(text.encode("utf-8", "replace"), mtime=0))
            Path(draft.name).replace(path)
        except OSError:
            log.warning("The file %s could not be kept", path.name, exc_info=True)

    def path(self, name: str) -> Path:
        """Where a value is kept."""
        return self.folder / f"{name}{ENDING}"


def digest(root: Path, paths: Iterable[Path], *more: str) -> str:
    """The hash of files, by their places under ``root`` and their contents, and of more words.

    Raises ``OSError`` for a file that cannot be read.
    """
    whole = hashlib.sha256("\0".join(more).encode())
    for path in sorted(paths):
        whole.update(b"\0" + path.relative_to(root).as_posix().encode() + b"\0")
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:16]
