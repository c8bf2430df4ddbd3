"""A formula as MathML: well formed, nothing of the formula lost, cases as rows."""

import html
import re
from xml.etree import ElementTree

import downslope as ds
import pytest
import sympy as sp
from downslope.analysis.surrogates.formula.mathml import mathml


def parsed(formula):
    """The element as a browser reads it: named entities are characters."""
    text = re.sub(r"&(?!lt;|gt;|amp;|quot;)\w+;", lambda found: html.unescape(found.group()), mathml(formula))
    return ElementTree.fromstring(text)


@pytest.mark.parametrize("name", ds.SURROGATES)
def test_every_formula_of_the_catalogue_is_well_formed_and_names_its_symbols(name):
    factor = ds.SURROGATES[name].factor
    element = parsed(factor)
    said = "".join(element.itertext())
    assert element.attrib["alttext"] == str(factor)
    assert all(str(symbol) in said for symbol in ds.SURROGATES[name].parameters)
    assert (ds.u in factor.free_symbols) == ("u" in {leaf.text for leaf in element.iter("mi")})
    cases = factor.find(sp.Piecewise)
    assert len(list(element.iter("mtr"))) == sum(len(each.args) for each in cases)


def test_comparisons_are_escaped():
    element = parsed(sp.Piecewise((1, ds.u < 0), (0, True)))
    assert "".join(element.itertext()).replace("\u00a0", " ") == "{1where u<00otherwise"


def test_exponentials_stay_above_the_bar():
    rate = sp.Symbol("k", positive=True)
    (fraction,) = parsed(rate * sp.exp(-rate * ds.u) / (1 + ds.u**2)).iter("mfrac")
    assert ["".join(part.itertext()) for part in fraction] == ["k\u22c5e\u2212k\u22c5u", "u2+1"]


def test_a_sum_in_a_product_is_in_brackets():
    said = "".join(parsed(2 * (ds.u + 1) * sp.Symbol("height")).itertext())
    assert "(" in said
    assert ")" in said
