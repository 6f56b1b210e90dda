"""Linear layers whose weights oneDNN has packed once: about twice the speed of a plain CPU forward pass.

Plain ``Linear`` packs bfloat16 weights again in every call, and takes a slower library for float32.  The operators are
private to torch, so that everything here is a no-op where they are missing.
"""

from __future__ import annotations

import torch
from torch import nn

ROWS_HINT = 16
"""Rows per pass the layout is tuned for: a small tree and its root."""


class PackedLinear(nn.Module):
    """Inference-only stand-in for ``nn.Linear`` on the CPU; its weight is opaque and cannot be saved, cast or trained.

    bfloat16 results are bit-equal to ``nn.Linear``; float32 results differ in the last bits (another summation order).
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Pack a copy of ``linear.weight``; raises RuntimeError where oneDNN takes no such weight."""
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        # Plain attributes: neither a parameter nor a buffer, so that .to() and state_dict() leave the layout alone.
        self._packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS_HINT)
        self._bias: torch.Tensor | None = None if linear.bias is None else linear.bias.detach()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return ``inputs @ weight.T + bias``, shape (..., out_features), dtype of ``inputs``."""
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self._bias, "none", [], "")
        return output


def packing_available(dtype: torch.dtype) -> bool:
    """Return whether this build of torch can pack weights of ``dtype`` for this CPU."""
    if not torch.backends.mkldnn.is_available():
        return False
    if not all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise")):
        return False
    if dtype == torch.bfloat16:
        supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
        return bool(supported is not None and supported())
    return dtype == torch.float32


def pack_linear_layers(model: nn.Module) -> int:
    """Replace every plain CPU ``nn.Linear`` inside ``model`` by a packed one and return how many were replaced.

    A head tied to the embedding is packed as a copy: the embedding keeps the shared weight and looks up as before, at
    the price of holding that matrix twice.  The model can afterwards neither be saved nor cast.  Layers that oneDNN
    refuses, and subclasses of ``nn.Linear`` (quantised ones), stay as they are.
    """
    replaced = 0
    with torch.inference_mode():
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                # An exact type: subclasses of Linear mean something else by their weight.
                if type(child) is not nn.Linear or child.weight.device.type != "cpu":
                    continue
                if not packing_available(child.weight.dtype):
                    continue
                try:
                    packed = PackedLinear(child)
                except RuntimeError:
                    continue
                setattr(module, name, packed)
                replaced += 1
    return replaced
