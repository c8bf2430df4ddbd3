"""The fast ways of an evaluation: without branches, part by part, times an upstream gradient, as a maximum."""

from __future__ import annotations

import operator
from functools import partial

import downslope as ds
import pytest
import sympy as sp
import torch
from downslope import u
from downslope.analysis.surrogates.formula import evaluation
from downslope.analysis.surrogates.formula.arithmetic import masked, plain
from downslope.analysis.surrogates.formula.multiples import ratio
from downslope.analysis.surrogates.formula.numerics import plans
from downslope.analysis.surrogates.formula.steps.forms import positive_part
from downslope.analysis.surrogates.formula.steps.program import Program
from downslope.analysis.surrogates.formula.steps.writer import program

NAMES = [*ds.SURROGATES]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("shape", [(7,), (3, 300, 400)], ids=["whole", "in parts"])
@pytest.mark.parametrize("name", NAMES)
def test_a_product_is_upstream_times_the_value(name, shape):
    draws = torch.Generator().manual_seed(1)
    given, upstream = (3 * torch.randn(shape, generator=draws) for _ in range(2))
    formula = ds.SURROGATES[name].formula
    with torch.no_grad():
        found = evaluation.product(formula, given, upstream, generator=generator())
    assert torch.equal(found, upstream * evaluation.evaluate(formula, given, generator=generator()))


def test_a_product_leaves_its_inputs_and_keeps_the_graph():
    given, upstream = torch.randn(5, requires_grad=True), torch.randn(5, requires_grad=True)
    before = given.detach().clone()
    assert torch.autograd.grad(evaluation.product(u, given, upstream).sum(), upstream)[0].equal(before)
    with torch.no_grad():
        evaluation.product(u, given, upstream)
    assert torch.equal(given, before)


def test_a_product_in_another_shape_or_dtype_is_the_plain_one():
    given, upstream = torch.randn(4, 5), torch.randn(5, dtype=torch.float64)
    found = evaluation.product(u, given, upstream)
    assert found.dtype == torch.float32
    assert torch.equal(found, (given * upstream).float())


@pytest.mark.parametrize("size", [1, 5, 64])
def test_parts_of_any_size_give_the_same(size):
    whole = plans.choose(ds.SURROGATES["gaussian"].formula, torch.float32).plan
    given = torch.randn(13, 50)
    assert torch.equal(plans.InParts(whole.plan, size)(given), whole(given))
    assert torch.equal(plans.InParts(whole.plan, size).times(given, given), given * whole(given))


@pytest.mark.parametrize("relation", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne])
@pytest.mark.parametrize("bound", [sp.Rational(1, 3), sp.Integer(0), sp.Rational(-1, 2)], ids=str)
def test_a_comparison_is_the_same_as_a_number(relation, bound):
    near = plain.neighbour(torch.full((1,), float(bound)), 1), plain.neighbour(torch.full((1,), float(bound)), -1)
    points = torch.cat([torch.tensor([float(bound), -1.0, 0.0, -0.0, 1.0, torch.inf, -torch.inf, torch.nan]), *near])
    condition = masked.arithmetic("compare", (relation, bound), torch.float32)(points)
    right = plain.arithmetic("compare", (relation, bound), torch.float32)(points)
    assert torch.equal(condition, right.float())


@pytest.mark.parametrize("first", [1.0, 0.3, torch.tensor([0.1, 5.0])], ids=["1", "a number", "a tensor"])
@pytest.mark.parametrize("second", [0.0, 0.7, torch.tensor([-2.0, 1e-20])], ids=["0", "a number", "a tensor"])
def test_a_choice_takes_the_very_value(first, second):
    choose = masked.arithmetic("choose", None, torch.float32)
    condition = torch.tensor([1.0, 0.0])
    a, b = (torch.as_tensor(each, dtype=torch.float32).expand(2) for each in (first, second))
    assert torch.equal(choose(condition, first, second), torch.stack([a[0], b[1]]))


def test_a_falling_line_is_a_maximum_and_nothing_else_is():
    triangle = ds.SURROGATES["triangle"]
    for each in (triangle, triangle.at(width=0.5), triangle.at(centre=1, height=0.3)):
        assert positive_part(each.formula).func is sp.Max
    size = sp.Abs(u)
    others = [
        (1 - size, size <= sp.Rational(1, 2)),  # cut before it is 0
        (1 - size, size <= 2),  # negative at the end
        (size - 1, size <= 1),  # rising
        (1 - size**2, size <= 1),  # no line
        (1 - size + u, size <= 1),  # not of the size alone
        (1 - size, size >= 1),  # outside
    ]
    for line in others:
        formula = sp.Piecewise(line, (0, True))
        assert positive_part(formula) == formula
    other_end = sp.Piecewise((1 - size, size <= 1), (1, True))
    assert positive_part(other_end) == other_end


def test_multiples_are_found_by_the_quotient_or_by_a_height():
    triangle, gaussian = ds.SURROGATES["triangle"], ds.SURROGATES["gaussian"]
    assert ratio(triangle.at(height=3), triangle) == 3
    assert ratio(ds.Surrogate("triple", factor=3 * gaussian.formula), gaussian) == 3
    assert ratio(ds.SURROGATES["full_jam"], ds.SURROGATES["full_jam"]) is None  # other draws
    for other in (triangle.at(width=2), triangle.at(height=2, width=2), triangle.at(centre=1), gaussian):
        assert ratio(other, triangle) is None


def test_a_chain_of_steps_writes_over_one_tensor_and_leaves_its_input():
    """Bit for bit as the same steps on tensors of their own; a value that is used again is not written over."""
    triangle, laplace = (ds.SURROGATES[name].formula for name in ("triangle", "laplace"))
    for formula, several in ((triangle, False), (laplace, False), (2 - sp.Abs(u) + sp.sqrt(sp.Abs(u)), True)):
        code = program(positive_part(formula))
        arithmetic = partial(plain.arithmetic, dtype=torch.float32)
        given = torch.cat([torch.randn(99), torch.tensor([0.0, -0.0, 1.0, -1.0, torch.nan, torch.inf, -torch.inf])])
        before, right = given.clone(), code.bind(arithmetic)([given])
        assert torch.equal(code.bind(arithmetic, plain.OVERWRITING)([given]).nan_to_num(7), right.nan_to_num(7))
        chain = code.chain(arithmetic, plain.OVERWRITING)
        assert (chain is None) == several
        if chain:
            value = given
            for function in chain:
                value = function(value)
            assert torch.equal(value.nan_to_num(7), right.nan_to_num(7))
        assert torch.equal(given.nan_to_num(7), before.nan_to_num(7))


def test_writing_over_a_value_that_is_used_again_would_be_caught(monkeypatch):
    monkeypatch.setattr(Program, "_overwriting", _careless)
    with pytest.raises(AssertionError):
        test_a_chain_of_steps_writes_over_one_tensor_and_leaves_its_input()


def _careless(self, template, code, overwriting):
    """Takes no notice of later uses, nor of what is the input."""
    changed = []
    for slot, function, arguments in code:
        varying = [place for place, index in enumerate(arguments) if template[index] is None]
        if function in overwriting and len(varying) == 1:
            constant = next((template[index] for index in arguments if template[index] is not None), None)
            function, arguments = overwriting[function][varying[0]](constant), (arguments[varying[0]],)
        changed.append((slot, function, arguments))
    return changed
