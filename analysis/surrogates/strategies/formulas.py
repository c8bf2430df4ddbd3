"""Strategies for backward factors whose sign is known because of how they are built."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import sympy as sp

from ..surrogate import Surrogate
from ..symbols import u

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Sign = Literal["strict", "weak", "indefinite"]


def formulas(sign: Sign = "strict") -> SearchStrategy[sp.Expr]:
    """Backward factors in ``downslope.u`` whose sign is known because of how they are built.

    Args:
        sign: ``"strict"``: psi > 0 everywhere. ``"weak"``: psi >= 0, and 0 on a set of positive length.
            ``"indefinite"``: psi takes both signs.
    """
    from hypothesis import strategies as st

    scale = st.sampled_from([sp.Rational(1, 4), sp.Rational(1, 2), sp.Integer(1), sp.Integer(2), sp.Integer(4)])
    shift = st.sampled_from([sp.Integer(0), sp.Rational(1, 2), sp.Integer(-1)])
    bump = st.builds(lambda form, k, c: form(k * (u - c)), st.sampled_from(_BUMPS), scale, shift)
    strict = st.recursive(
        bump,
        lambda inner: st.one_of(
            st.builds(lambda a, b, k: a + k * b, inner, inner, scale),
            st.builds(lambda a, b: a * b, inner, inner),
            st.builds(lambda a, k: k * a, inner, scale),
        ),
        max_leaves=3,
    )
    if sign == "strict":
        return strict
    if sign == "weak":
        window = st.builds(lambda form, k, c: form(k * (u - c)), st.sampled_from(_WINDOWS), scale, shift)
        return st.builds(lambda a, b: a * b, strict, window)
    return st.builds(lambda a, c, k: a * k * (u - c) / (1 + sp.Abs(u - c)), strict, shift, scale)


def surrogates(sign: Sign = "strict") -> SearchStrategy[Surrogate]:
    """Surrogates of `formulas`, by the name ``drawn``."""
    return formulas(sign).map(
        lambda formula: Surrogate("drawn", factor=formula, source="built by downslope.strategies")
    )


_BUMPS: tuple[Callable[[sp.Expr], sp.Expr], ...] = (
    lambda x: sp.exp(-(x**2)),
    lambda x: sp.exp(-sp.Abs(x)),
    lambda x: 1 / (1 + x**2),
    lambda x: 1 / (1 + sp.Abs(x)) ** 2,
    lambda x: 1 / sp.cosh(x) ** 2,
    lambda x: 1 / (1 + sp.exp(-x)),
    lambda x: sp.Piecewise((1, x > 0), (sp.Rational(1, 10), True)),
    lambda x: sp.Integer(1),
)
_WINDOWS: tuple[Callable[[sp.Expr], sp.Expr], ...] = (
    lambda x: sp.Piecewise((1, sp.Abs(x) <= 1), (0, True)),
    lambda x: sp.Max(0, 1 - sp.Abs(x)),
    lambda x: sp.Piecewise((1, x > 0), (0, True)),
    lambda x: sp.Max(0, x) / (1 + sp.Abs(x)),
)
