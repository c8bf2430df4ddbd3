"""What is there is found, wherever it lies, at the least and roundest place, and again the same way."""

from __future__ import annotations

import downslope as ds
import pytest
import sympy as sp
import torch
from downslope.analysis.surrogates.checks import CHECKS
from downslope.analysis.surrogates.checks.record import Outcome
from downslope.analysis.surrogates.checks.search import grids
from downslope.analysis.surrogates.checks.search.reference import precise, values
from downslope.analysis.surrogates.checks.search.shrink import least, roundest
from downslope.analysis.surrogates.checks.subject import Subject
from hypothesis import given, settings
from hypothesis import strategies as st

REACH = 10.0


def has_point_in(grid: torch.Tensor, low: float, high: float) -> bool:
    at = torch.searchsorted(grid, torch.tensor(low, dtype=grid.dtype))
    return bool(at < len(grid) and grid[at] <= high)


@settings(max_examples=300)
@given(st.floats(-REACH, REACH), st.sampled_from(grids.DENSE))
def test_no_interval_of_relative_width_1e_3_falls_between_two_points(start: float, dtype: torch.dtype) -> None:
    low, high = sorted((start, start * 1.001))
    if abs(start) > 2e-38:
        assert has_point_in(grids.dense(dtype), low, high)


@settings(max_examples=100)
@given(st.floats(-REACH, REACH - 1e-3))
def test_no_interval_of_width_1e_3_falls_between_two_points(start: float) -> None:
    assert has_point_in(grids.dense(torch.float32), start, start + 1e-3)


@settings(max_examples=12)
@given(st.floats(1e-6, 9.98), st.sampled_from([-1.0, 1.0]))
def test_a_planted_flaw_of_relative_width_1e_3_is_found_and_shown_there(start: float, side: float) -> None:
    def flawed(u: torch.Tensor) -> torch.Tensor:
        inside = (side * u >= start) & (side * u <= start * 1.001)
        return torch.where(inside, -1.0, 1.0) / (1 + u.abs()) ** 2

    surrogate = ds.adapt_factor(flawed, forward="heaviside")
    record = CHECKS["sign-preserving"](Subject(surrogate))
    assert record.outcome is Outcome.VIOLATION
    # float32 rounds the flaw's own bounds
    assert start * (1 - 1e-6) <= side * record.counterexample["u"] <= start * 1.001 * (1 + 1e-6)


@pytest.mark.parametrize("dtype", grids.WHOLE)
def test_half_precision_is_searched_whole(dtype: torch.dtype) -> None:
    grid = grids.whole(dtype)
    assert len(grid) == {torch.float16: 2 * 31 * 1024, torch.bfloat16: 2 * 255 * 128}[dtype]
    assert bool(grid.isfinite().all())
    assert bool((grid.float().diff() >= 0).all())


@pytest.mark.parametrize("dtype", grids.DENSE)
def test_the_grid_holds_the_ends_of_a_dtype_and_both_zeros(dtype: torch.dtype) -> None:
    grid, facts = grids.dense(dtype), torch.finfo(dtype)
    smallest = torch.nextafter(torch.zeros((), dtype=dtype), torch.ones((), dtype=dtype))
    for wanted in (facts.max, -facts.max, facts.tiny, float(smallest), -float(smallest), 1.0, 0.1, -3.5):
        assert bool((grid == torch.tensor(wanted, dtype=dtype)).any()), wanted
    zeros = grid[grid == 0]
    assert zeros.signbit().tolist() == [True, False]


def test_break_points_are_those_of_the_formula() -> None:
    c = sp.Symbol("c")
    pieces = sp.Piecewise((0, ds.u < -3), (sp.Max(0, 1 - sp.Abs(ds.u - 2)), True)).subs(c, 1)
    assert {-3.0, 1.0, 2.0, 3.0} <= set(grids.breaks(pieces))
    near = grids.around([0.5], torch.float32)
    assert len(set(near.tolist())) == 5


def test_a_flaw_at_one_ulp_beyond_a_break_point_is_found() -> None:
    edge = torch.nextafter(torch.tensor(1 / 3, dtype=torch.float32), torch.tensor(1.0)).item()
    formula = sp.Piecewise((1, ds.u <= sp.Rational(1, 3)), (sp.Rational(1, 2), True))

    def flawed(u: torch.Tensor) -> torch.Tensor:
        return torch.where(u == edge, torch.nan, torch.where(u <= 1 / 3, 1.0, 0.5))

    record = CHECKS["finite"](Subject(ds.adapt_factor(flawed, forward="heaviside", formula=formula)))
    assert record.outcome is Outcome.VIOLATION
    assert record.counterexample["u"] == pytest.approx(1 / 3, rel=1e-6)


def test_what_no_grid_foresees_is_left_to_hypothesis() -> None:
    # A fault that shows only where two entries stand side by side: no grid of single points can hold it.
    def flawed(u: torch.Tensor) -> torch.Tensor:
        together = u.numel() < 100 and bool((u == 3).any()) and bool((u == 10).any())
        return torch.full_like(u, torch.nan if together else 1.0)

    strategy = ds.strategies.preactivations(torch.float32, max_side=6)
    subject = Subject(ds.adapt_factor(flawed, forward="heaviside"))
    from downslope.analysis.surrogates.checks.search.shrink import hunt

    found = hunt(0, strategy, lambda u: not bool(subject.respond(u).gradient.isfinite().all()), 2000)
    assert found is not None
    assert sorted(found.tolist()) == [3.0, 10.0]
    again = hunt(0, strategy, lambda u: not bool(subject.respond(u).gradient.isfinite().all()), 2000)
    assert again is not None
    assert again.tolist() == found.tolist()


@settings(max_examples=50)
@given(st.floats(1e-20, 1e20))
def test_the_least_failing_point_is_found_between_the_points_of_the_grid(edge: float) -> None:
    grid = torch.logspace(-30, 30, 61, dtype=torch.float64)
    found = least(grid, grid >= edge, lambda u: u >= edge)
    assert found is not None
    assert edge <= found <= 1.05 * edge


@pytest.mark.parametrize(
    ("value", "shown"), [(-3.4203, -3.5), (2.0000001, 2.1), (0.5000001, 0.51), (97.3, 100.0), (2.0, 2.0)]
)
def test_the_roundest_number_within_five_per_cent_is_shown(value: float, shown: float) -> None:
    assert roundest(value, torch.float64, lambda u: u.abs() >= abs(value)) == shown


def test_a_number_is_not_rounded_out_of_a_narrow_flaw() -> None:
    assert roundest(3.14159, torch.float64, lambda u: (u >= 3.14159) & (u < 3.1417)) == 3.1416


def test_the_reference_is_right_where_plain_arithmetic_overflows() -> None:
    logistic = sp.exp(-ds.u) / (1 + sp.exp(-ds.u)) ** 2
    points = [-800.0, -40.0, 0.0, 3.0, 800.0]
    assert values(logistic, torch.tensor(points).double().numpy()) == pytest.approx(
        precise(logistic, points), rel=1e-13
    )


@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_seed_gives_the_same_records(seed: int) -> None:
    jam = ds.adapt_rule(lambda ctx, g, u: g * torch.randn_like(g), forward="relu", random=True)
    first, second = (ds.check_surrogate(jam, seed=seed) for _ in range(2))
    assert [record.as_json() for record in first] == [record.as_json() for record in second]
