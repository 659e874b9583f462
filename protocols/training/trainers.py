"""What all wrappers of a trainer share: where it computes, what it leaves out, whom it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from protocols.training.checkpoints import Resuming


def device() -> str:
    """Where trainings compute: on the GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def modest() -> dict[str, Any]:
    """Arguments of every training; each differs from its default for a reason.

    Gradient checkpointing costs time and saves memory nobody needs here; ``bf16`` is about mixed
    precision, and these weights are bf16 already. Nothing is reported to services or to the screen.
    """
    return {
        "lr_scheduler_type": "cosine",
        "bf16": False,
        "use_cpu": device() == "cpu",
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "disable_tqdm": True,
    }


def make_trainer(kind: type, *callbacks: Any, **given: Any) -> Any:
    """A trainer of a ``kind`` that goes on from its own checkpoints and prints nothing.

    Without its progress bars transformers would write every loss to standard output, which belongs
    to the command line.
    """
    from transformers import PrinterCallback

    made = type(kind.__name__, (Resuming, kind), {})(callbacks=list(callbacks), **given)
    made.remove_callback(PrinterCallback)
    return made


def quiet_dataset(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows as a data set that is prepared without progress bars: the fit's stream tells enough."""
    import datasets

    datasets.disable_progress_bars()
    return datasets.Dataset.from_list([dict(row) for row in rows])
