"""A formula as presentation MathML, which browsers show without a script, a font or a network.

SymPy's printer does the work; it has no cases, and it moves exponentials below the fraction bar.
"""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.printing.mathml import MathMLPresentationPrinter
from sympy.printing.precedence import PRECEDENCE

# SymPy prints a bare "<", a hyphen for minus and a double-struck e.
_MENDED = {"<mo><</mo>": "<mo>&lt;</mo>", "<mo>-</mo>": "<mo>\u2212</mo>", "&ExponentialE;": "e"}


def mathml(formula: sp.Expr) -> str:
    """The formula as one ``<math>`` element; the plain text of it stands in ``alttext`` for readers without MathML.

    >>> mathml(sp.Symbol("width") + 1)
    '<math displaystyle="true" alttext="width + 1"><mrow><mi>width</mi><mo>+</mo><mn>1</mn></mrow></math>'
    """
    body = _Printer().doprint(formula)
    for printed, wanted in _MENDED.items():
        body = body.replace(printed, wanted)
    plain = str(formula).replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return f'<math displaystyle="true" alttext="{plain}">{body}</math>'


class _Printer(MathMLPresentationPrinter):  # type: ignore[misc]
    def _print_Piecewise(self, formula: sp.Piecewise) -> Any:
        table = self.dom.createElement("mtable")
        table.setAttribute("columnalign", "left left")
        for value, condition in formula.args:
            row = self.dom.createElement("mtr")
            for cell in (
                self._print(value),
                self._text("otherwise") if condition == sp.true else self._where(condition),
            ):
                column = self.dom.createElement("mtd")
                column.setAttribute("style", "text-align: left")
                column.appendChild(cell)
                row.appendChild(column)
            table.appendChild(row)
        brace = self._operator("{")
        brace.setAttribute("stretchy", "true")
        return self._row(brace, table)

    def _print_Mul(self, product: sp.Mul) -> Any:
        negative = product.could_extract_minus_sign()
        above, below = sp.fraction(-product if negative else product, exact=True)
        if below == 1:
            parts: list[Any] = []
            for factor in above.as_ordered_factors():
                parts += [self._operator("\u22c5")] * bool(parts) + [self.parenthesize(factor, PRECEDENCE["Mul"])]
            value = self._row(*parts)
        else:
            value = self.dom.createElement("mfrac")
            value.appendChild(self._print(above))
            value.appendChild(self._print(below))
        return self._row(self._operator("-"), value) if negative else value

    def _where(self, condition: Any) -> Any:
        return self._row(self._text("where "), self._print(condition))

    def _row(self, *parts: Any) -> Any:
        row = self.dom.createElement("mrow")
        for part in parts:
            row.appendChild(part)
        return row

    def _operator(self, sign: str) -> Any:
        return self._leaf("mo", sign)

    def _text(self, words: str) -> Any:
        return self._leaf("mtext", words.replace(" ", "\u00a0"))

    def _leaf(self, tag: str, words: str) -> Any:
        leaf = self.dom.createElement(tag)
        leaf.appendChild(self.dom.createTextNode(words))
        return leaf
