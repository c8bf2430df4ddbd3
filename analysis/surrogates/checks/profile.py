"""What was measured of a factor, in a few numbers."""

from __future__ import annotations

from typing import Any

import torch

from .properties.shape import asymmetry, gaussian_share, integral
from .subject import Subject


def measured(subject: Subject) -> dict[str, Any]:
    """Supremum and infimum over the grid, value at the centre, zero share, integral, symmetry, randomness.

    Of a random factor supremum and infimum are those of one draw, and the integral is left out.
    """
    u, factor = subject.nodes
    centre = torch.tensor([subject.adapted.centre], dtype=torch.float64)
    return {
        "supremum": float(factor.max()),
        "infimum": float(factor.min()),
        "at_centre": float(subject.respond(centre).gradient),
        "zero_fraction": gaussian_share(u, factor == 0),
        "integral": None if subject.random else integral(u, factor),
        "even": None if subject.random else asymmetry(subject)[0] <= 1e-3,
        "random": subject.random,
        "forward_direction": {1: "rises", -1: "falls", 0: "both"}[subject.direction],
    }
