"""What all wrappers of a trainer share: where it computes, what it leaves out, whom it tells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from protocols.training.checkpoints import Resuming

AT_ONCE = 2
"""Rows that a GPU computes together; the gradients of a batch's other rows are added to theirs."""
LONGEST = 24_576
"""Tokens of a row at most: 32 answers of 512 tokens to read, and room for the rest."""
FINE = 2e-4
"""Below this learning rate a step is too small for bf16, whose numbers are a 256th apart."""


def device() -> str:
    """Where trainings compute: on the GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def is_thrifty() -> bool:
    """Whether memory is dearer than time: see :func:`batch_arguments`."""
    return device() == "cuda"


def threads() -> int:
    """How many processor threads a training may use."""
    import torch

    return int(torch.get_num_threads())


class AdapterSettings(Protocol):
    """What the settings of every training say about its adapter and its steps."""

    @property
    def rank(self) -> int:
        """Rank of the adapter's two factors."""

    @property
    def alpha(self) -> int:
        """The product of the factors counts ``alpha / rank`` times."""

    @property
    def target_modules(self) -> Sequence[str]:
        """Names of the linear layers that are adapted."""

    @property
    def learning_rate(self) -> float:
        """Learning rate at its highest; it falls along a cosine to zero."""

    @property
    def warmup(self) -> float:
        """Steps until the highest learning rate; below 1 a share of all steps."""

    @property
    def seed(self) -> int:
        """Decides the fresh adapter and the order of the rows."""


def is_fine(settings: AdapterSettings) -> bool:
    """Whether the steps are so small that an adapter has to be trained in fp32."""
    return settings.learning_rate < FINE


def fresh_lora(
    model: Any, settings: AdapterSettings, *, fp32: bool, task: str = "CAUSAL_LM", **more: Any
) -> Any:
    """Return ``model`` with a fresh LoRA to train; ``more`` goes to peft's LoraConfig.

    With ``fp32`` it is trained in fp32 beside a bf16 base, for gradients whose steps are too small
    for bf16; the paper's learning rates always are. Without, it has the base's own type: on a CPU
    fp32 doubles the time of a step and the size of the file. A model that calls none of its layers
    by the names of ``target_modules`` is adapted in all linear ones.
    """
    from peft import LoraConfig, get_peft_model

    layers = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    named = [name for name in settings.target_modules if name in layers]
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        target_modules=named or "all-linear",
        task_type=task,
        **more,
    )
    return get_peft_model(model, lora, autocast_adapter_dtype=fp32 or is_fine(settings))


def common_arguments(settings: AdapterSettings) -> dict[str, Any]:
    """Arguments of every training; each fixed one differs from its default for a reason.

    ``bf16`` is about mixed precision, and these weights are bf16 already. Activations are kept
    unless :func:`batch_arguments` says otherwise. Nothing is reported to services or to the screen.
    """
    return {
        "learning_rate": settings.learning_rate,
        "warmup_steps": settings.warmup,
        "seed": settings.seed,
        "lr_scheduler_type": "cosine",
        "bf16": False,
        "use_cpu": device() == "cpu",
        "dataloader_pin_memory": False,
        "report_to": "none",
        "disable_tqdm": True,
    }


def batch_arguments(batch: int, thrifty: bool) -> dict[str, Any]:
    """How a step goes through its ``batch`` rows, with the same gradient either way.

    ``thrifty`` is for whole models on a GPU, where 32 long rows of a 7B model would not fit: few
    rows at once, and activations computed again rather than kept. Small models on a CPU have memory
    enough and no time.
    """
    at_once = math.gcd(batch, AT_ONCE) if thrifty else batch
    return {
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": batch // at_once,
        "gradient_checkpointing": thrifty,
    }


def make_trainer(kind: type, *callbacks: Any, **given: Any) -> Any:
    """A trainer of a ``kind`` that goes on from its own checkpoints and prints nothing.

    Without its progress bars transformers would write every loss to standard output, which belongs
    to the command line. On a machine with several GPUs it would copy the model onto all of them and
    make a batch that many times as large; it is told of one.
    """
    from transformers import PrinterCallback

    args = given["args"]
    args._n_gpu = min(1, args.n_gpu)
    made = type(kind.__name__, (Resuming, kind), {})(callbacks=list(callbacks), **given)
    made.remove_callback(PrinterCallback)
    return made


def quiet_dataset(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows as a data set that is prepared without progress bars: the fit's stream tells enough."""
    import datasets

    datasets.disable_progress_bars()
    return datasets.Dataset.from_list([dict(row) for row in rows])
