"""The verdicts as a booktabs table that compiles, and texts made safe for LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from ..referee import Result

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}

HEAD = r"""% needs \usepackage{array,booktabs,longtable,amsmath,amssymb}
\begin{longtable}{@{}l>{\raggedright\arraybackslash}p{0.38\linewidth}>{$}p{0.3\linewidth}<{$}l@{}}
\toprule
claim & statement & \text{formula} & verdict \\
\midrule
\endhead"""


def escaped(text: str) -> str:
    r"""Plain text as LaTeX.

    >>> print(escaped("m > 1 & x_1"))
    m \textgreater{} 1 \& x\_1
    """
    return "".join(_ESCAPES.get(letter, letter) for letter in text)


def table(results: Sequence[Result]) -> str:
    """One row a claim: id, statement, formula, verdict."""
    rows = [
        f"\\texttt{{{escaped(r.claim.id)}}} & {escaped(r.claim.statement)} & {r.claim.latex} & {r.verdict.lower()} \\\\"
        for r in results
    ]
    return "\n".join([HEAD, *rows, r"\bottomrule", r"\end{longtable}"])
