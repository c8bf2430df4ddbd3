"""The one symbol that every formula of the project is written in."""

import sympy as sp

u: sp.Symbol = sp.Symbol("u", real=True)
"""The preactivation: the real number that enters an activation."""
