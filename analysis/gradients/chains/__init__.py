"""Chains: models whose layers follow one another, where the error signals of many surrogates stack into one product.

A chain is a sequence of linear and convolution layers, pooling, flattening and elementwise activations. Its forward
runs once; the error signals of K surrogates (or draws of a random one) travel down together, so each layer costs one
large matrix product in place of K small ones. The answers are those of ``untie`` and ``replay`` to rounding. What is
no chain is answered with ``None``, and the caller replays.
"""

from .deviations import deviations as deviations
from .deviations import gradients as gradients
