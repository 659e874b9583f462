"""Names for weights, so that a verdict says exactly which model gave it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from protocols.core.models import ModelSpec, content_hash

WEIGHTS = ("*.safetensors", "adapter_config.json", "config.json", "chat_template.jinja")


def weights_hash(model: ModelSpec) -> str:
    """Return what names a model's weights: hub id and revision, or the bytes of local files.

    The same files give the same name wherever they lie. Reads local files whole the first time.
    """
    source = _folder_hash(Path(model.source)) if Path(model.source).is_dir() else model.source
    adapter = _folder_hash(Path(model.adapter)) if model.adapter else ""
    return content_hash([source, model.revision, adapter, model.chat_template])


@lru_cache(maxsize=32)
def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in WEIGHTS for path in folder.glob(pattern)):
        with path.open("rb") as stream:
            digest.update(path.name.encode())
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
