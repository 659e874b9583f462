"""Linear layers whose weights lie in memory the way the processor's kernels read them.

On a CPU, oneDNN rearranges a weight matrix at every call unless it was packed once before; for the
few rows of a decoding step that costs about as much as the product itself. It knows no model. The
operations are the ones that torch's own compiler uses; where they are missing, the layer stays.
"""

from __future__ import annotations

import torch
from torch import nn

ROWS_HINT = 8
"""The number of rows the layout is chosen for; others work as well."""


class PackedLinear(nn.Module):  # type: ignore[misc]
    """The same function as a bf16 ``nn.Linear`` on a CPU. Holds its own copy of the weights."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().contiguous()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS_HINT)
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x W^T + bias``."""
        y: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._packed, self._bias, "none", [], ""
        )
        return y


def can_pack(weight: torch.Tensor) -> bool:
    """Whether packing exists here and makes sense: bf16 weights on a processor that knows bf16."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def packed(linear: nn.Linear) -> nn.Module:
    """The layer in its faster form where there is one, else the layer itself."""
    return PackedLinear(linear) if can_pack(linear.weight) else linear
