"""Provisional."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp


@dataclass(frozen=True)
class SignProof:
    """Provisional."""


def prove(formula: sp.Expr) -> SignProof:
    """Provisional."""
    raise NotImplementedError


def increasing(formula: sp.Expr) -> bool | None:
    """Provisional."""
    raise NotImplementedError
