"""The profile of every entry against numbers that share no code with it: quadrature and dense values of the formula."""

import dataclasses
import math

import downslope as ds
import numpy as np
import pytest
import sympy as sp
from numpy.polynomial.legendre import leggauss

ENTRIES = {name: entry for name, entry in ds.SURROGATES.items() if not entry.random}
LINE = np.concatenate([np.linspace(-30, 30, 60_001), np.geomspace(30, 1e4, 2_000), -np.geomspace(30, 1e4, 2_000)])

# Gauss-Legendre on panels that double in width, with the catalogue's folds at their edges.
EDGES = np.array([0, 0.25, 0.5, *2.0 ** np.arange(45)])
_X, _W = leggauss(60)
NODES = ((EDGES[1:] + EDGES[:-1]) / 2 + np.outer(_X, np.diff(EDGES) / 2)).ravel()
WEIGHTS = np.outer(_W, np.diff(EDGES) / 2).ravel()


def disagreements(entry, profile):
    """What of a profile dense values and quadrature contradict."""
    values = entry(LINE)
    found = []
    if profile.supremum is not None and values.max() > float(profile.supremum) * (1 + 1e-12) + 1e-12:
        found.append("supremum")
    if profile.infimum is not None and values.min() < float(profile.infimum) - 1e-12:
        found.append("infimum")
    if profile.supremum is not None and math.isclose(values.max(), float(profile.supremum), rel_tol=1e-3) is False:
        found.append("supremum not reached")
    if profile.even and not np.allclose(values, entry(-LINE), rtol=1e-12):
        found.append("even")
    inside = np.zeros(LINE.shape, dtype=bool)
    for low, high in profile.support:
        inside |= (float(low) <= LINE) & (float(high) >= LINE)
    if np.any(values[~inside] != 0):
        found.append("support")
    if profile.integral is not None and sp.sympify(profile.integral, strict=True).is_finite:
        total = math.fsum(WEIGHTS * entry(NODES)) + math.fsum(WEIGHTS * entry(-NODES))
        if not math.isclose(total, float(profile.integral), rel_tol=1e-6, abs_tol=1e-8):
            found.append("integral")
    slopes = np.abs(np.diff(values[:60_001])) / np.diff(LINE[:60_001])
    if profile.lipschitz is not None and slopes.max() > float(profile.lipschitz) * (1 + 1e-9) + 1e-9:
        found.append("lipschitz")
    return found


@pytest.mark.parametrize("name", ENTRIES)
def test_the_profile_agrees_with_values(name):
    assert disagreements(ENTRIES[name], ENTRIES[name].profile) == []


@pytest.mark.parametrize(
    ("field", "value", "caught"),
    [
        ("supremum", sp.Rational(9, 10), "supremum"),
        ("infimum", sp.Rational(1, 100), "infimum"),
        ("integral", sp.Rational(101, 100), "integral"),
        ("support", ((sp.Rational(-1, 2), sp.Integer(1)),), "support"),
        ("lipschitz", sp.Rational(9, 10), "lipschitz"),
    ],
)
def test_a_wrong_profile_is_caught(field, value, caught):
    entry = ds.SURROGATES["triangle"]
    assert caught in disagreements(entry, dataclasses.replace(entry.profile, **{field: value}))


def test_a_random_entry_has_the_profile_of_its_mean_and_its_variance():
    jam = ds.SURROGATES["full_jam"]
    assert (jam.mean, jam.variance) == (sp.Rational(1, 2), sp.Rational(1, 12))
    assert jam.profile.supremum == sp.Rational(1, 2)
