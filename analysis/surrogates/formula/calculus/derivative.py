"""The derivative of a formula almost everywhere: what a backward pass multiplies by, without Dirac deltas."""

from __future__ import annotations

import sympy as sp

from ...symbols import u

_STEPS = (sp.floor, sp.ceiling, sp.sign, sp.Heaviside)


def derivative(formula: sp.Expr) -> sp.Expr:
    """d formula / du where it exists; a jump contributes 0, and at a kink the ``Piecewise`` decides.

    >>> derivative(sp.floor(u) + sp.sign(u) + u**2)
    2*u
    >>> derivative(sp.Mod(u, 2))
    1
    """
    formula = formula.replace(sp.Mod, lambda p, q: p - q * sp.floor(p / q)).replace(sp.frac, lambda x: x - sp.floor(x))
    # A step is constant between its jumps: it is held fixed while the rest is differentiated.
    steps = {step: sp.Dummy(real=True) for step in sorted(formula.atoms(*_STEPS), key=sp.count_ops, reverse=True)}
    slope = formula.xreplace(steps).diff(u)
    return slope.xreplace({held: step for step, held in steps.items()})
