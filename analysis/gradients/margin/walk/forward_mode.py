"""torch's forward mode: dual tensors, and the settings under which two passes give one another's numbers."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


def dual(value: Tensor, tangent: Tensor) -> Tensor:
    """The dual tensor of the current forward-mode level."""
    made: Tensor = forward_ad.make_dual(value, tangent)  # type: ignore[no-untyped-call]
    return made


def apart(value: Tensor) -> tuple[Tensor, Tensor | None]:
    """(value, tangent) of a dual tensor; the tangent is ``None`` where it is zero."""
    primal, tangent = forward_ad.unpack_dual(value)  # type: ignore[no-untyped-call]
    return primal, tangent


@contextmanager
def comparable(model: nn.Module) -> Iterator[None]:
    """While this is open, a forward-mode pass exists and agrees with the backward to the dtype's rounding.

    Attention and long short-term memories run by their formulas, since their fused kernels have no forward mode;
    convolutions on CUDA keep all bits of float32, since TensorFloat-32 has only ten.
    """
    fused = any(isinstance(module, nn.LSTM) for module in model.modules())
    _load()
    held = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with sdpa_kernel(SDPBackend.MATH), _without_mkldnn() if fused else nullcontext():
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = held


@contextmanager
def _without_mkldnn() -> Iterator[None]:
    held = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(held)


@cache
def _load() -> None:
    """Loads torch's own forward-mode formulas, once: they pass through its deprecated compiler, which warns of that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module("torch._decomp.decompositions_for_jvp")
