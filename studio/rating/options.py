"""What the rating pages can be told, and the server's secret."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from protocols.core.errors import EngineError

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class RatingOptions:
    """Limits and the secret of the rating pages.

    ``secret`` signs cookies and forms; with a new one, raters open their link again.
    ``proxy_hops`` is the number of trusted proxies in front of the server: the address that limits
    joining is taken that far from the end of ``X-Forwarded-For`` (0 = the connection's own).
    """

    secret: bytes = field(repr=False)
    posts_per_minute: int = 60
    pages_per_minute: int = 240
    joins_per_hour: int = 30
    proxy_hops: int = 0


def secret_from(path: Path) -> bytes:
    """Read the server's secret, made at the first call and readable by its owner only.

    Raises :class:`EngineError` if the file can be neither made nor read.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(path)
        found = path.read_bytes()
    except OSError as error:
        raise EngineError(
            f"The secret of the rating pages, {path}, cannot be used ({error.strerror}). "
            "Give the app a workspace it can write to."
        ) from None
    if len(found) < SECRET_BYTES:
        raise EngineError(f"The secret of the rating pages, {path}, is damaged. Remove it.")
    return found


def _make(path: Path) -> None:
    """Put a new secret in place whole, unless another process was first."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(SECRET_BYTES))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
