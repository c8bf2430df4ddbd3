"""Networks over tokens and over time: a transformer encoder, and leaky integrate-and-fire units."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .entry import Hidden, Network, Recipe

_WIDTH, _HEADS, _TOKENS = 32, 4, 8


class Attention(nn.Module):
    """Self-attention of several heads, written out, so that every gradient of it can be taken."""

    def __init__(self) -> None:
        super().__init__()
        self.split = nn.Linear(_WIDTH, 3 * _WIDTH)
        self.join = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [samples, tokens, width] of the same shape."""
        parts = self.split(tokens).reshape(*tokens.shape[:-1], 3, _HEADS, -1)
        queries, keys, values = parts.movedim(-3, 0).transpose(-3, -2)
        weights = torch.softmax(queries @ keys.mT / queries.shape[-1] ** 0.5, dim=-1)
        joined: Tensor = self.join((weights @ values).transpose(-3, -2).flatten(-2))
        return joined


class Block(nn.Module):
    """Attention, then two linear layers with an activation between, each beside an identity and after a layer norm."""

    def __init__(self, hidden: Hidden) -> None:
        super().__init__()
        self.attend = nn.Sequential(nn.LayerNorm(_WIDTH), Attention())
        self.widen = nn.Sequential(
            nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, 2 * _WIDTH), hidden(), nn.Linear(2 * _WIDTH, _WIDTH)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [samples, tokens, width] of the same shape."""
        tokens = tokens + self.attend(tokens)
        widened: Tensor = self.widen(tokens)
        return tokens + widened


class Encoder(nn.Module):
    """Two blocks over the rows of an 8 x 8 image, each row with a learned place, averaged over the rows."""

    def __init__(self, hidden: Hidden) -> None:
        super().__init__()
        self.embed = nn.Linear(8, _WIDTH)
        self.place = nn.Parameter(0.1 * torch.randn(_TOKENS, _WIDTH))
        self.blocks = nn.Sequential(Block(hidden), Block(hidden), nn.LayerNorm(_WIDTH))
        self.read = nn.Linear(_WIDTH, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs [samples, 10] for images [samples, 64]."""
        tokens = self.blocks(self.embed(images.reshape(-1, _TOKENS, 8)) + self.place)
        outputs: Tensor = self.read(tokens.mean(dim=-2))
        return outputs


class Spiking(nn.Module):
    """Leaky integrate-and-fire units: u(t) = decay u(t-1) + current(t) - s(t-1), spikes s(t) = step(u(t) - 1).

    Two hidden layers of them see a constant current for a number of time steps; what is read is a leaky sum of the
    last spikes, averaged over time. The reset by subtraction is differentiated through like everything else.

    Args:
        hidden: makes the step; untying it unties every time step.
        steps: time steps.
        decay: of the membrane, a step.
    """

    def __init__(self, hidden: Hidden, steps: int = 25, decay: float = 0.9) -> None:
        super().__init__()
        self.steps, self.decay = steps, decay
        self.inward, self.across, self.read = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.first, self.second = hidden(), hidden()

    def extra_repr(self) -> str:
        """What no parameter tells."""
        return f"steps={self.steps}, decay={self.decay}"

    def forward(self, images: Tensor) -> Tensor:
        """Outputs [samples, 10] for images [samples, 64]."""
        current = self.inward(images)
        below = above = spikes = last = torch.zeros_like(current)
        read = total = images.new_zeros(())
        for _ in range(self.steps):
            below = self.decay * below + current - spikes
            spikes = self.first(below - 1)
            above = self.decay * above + self.across(spikes) - last
            last = self.second(above - 1)
            read = self.decay * read + self.read(last)
            total = total + read
        return total / self.steps


TRANSFORMER_DIGITS = Network(
    "transformer-digits",
    title="transformer encoder on DIGITS' rows",
    activation="gelu",
    builder=Encoder,
    data="digits",
    recipe=Recipe(epochs=30, batch=64, learning_rate=0.05, momentum=0.9),
    source="after Vaswani et al. 2017, layer norm first",
)
SPIKING_DIGITS = Network(
    "spiking-digits",
    title="leaky integrate-and-fire units over 25 steps on DIGITS",
    activation="heaviside",
    builder=Spiking,
    data="digits",
    recipe=Recipe(epochs=10, batch=64, learning_rate=0.01, momentum=0.9),
    source="after Neftci, Mostafa and Zenke 2019",
    backward="fast_sigmoid",
)
