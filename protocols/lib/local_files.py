"""Where a model's files are on this machine."""

from __future__ import annotations

from pathlib import Path

from protocols.core.errors import UserError
from protocols.core.models import ModelSpec


def local_folder(model: ModelSpec) -> Path:
    """The folder with a model's (or its base's) files: its own, or the hub's cache.

    Raises :class:`UserError` if the weights are not here; nothing is downloaded.
    """
    folder = Path(model.source)
    if folder.is_dir():
        return folder
    if not model.is_endpoint and not folder.is_absolute():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            found = snapshot_download(
                model.source, revision=model.revision or None, local_files_only=True
            )
        except (LocalEntryNotFoundError, HFValidationError):
            pass
        else:
            return Path(found)
    raise UserError(
        f"The weights of '{model.id}' are not on this machine, so it cannot be merged. Download "
        "them first, or leave it out."
    )
