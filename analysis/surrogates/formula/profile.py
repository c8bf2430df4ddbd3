"""Provisional."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp


@dataclass(frozen=True)
class Profile:
    """Provisional."""


def of(formula: sp.Expr) -> Profile:
    """Provisional."""
    raise NotImplementedError
