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

PACKAGES = ("amsmath", "amssymb", "array", "booktabs", "graphicx", "longtable")
"""What a document needs to load for the table to compile."""

HEAD = (
    rf"% needs \usepackage{{{','.join(PACKAGES)}}}"
    r"""
% A formula on its own line, made smaller where it is wider than the column.
\providecommand{\fitted}[1]{\par\smallskip\sbox0{$\displaystyle #1$}%
  \ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi}
{\small
\begin{longtable}{@{}>{\raggedright\arraybackslash}p{0.24\linewidth}>{\raggedright\arraybackslash}p{0.56\linewidth}l@{}}
\toprule
claim & statement & verdict \\
\midrule
\endhead"""
)


def escaped(text: str) -> str:
    r"""Plain text as LaTeX.

    >>> print(escaped("m > 1 & x_1"))
    m \textgreater{} 1 \& x\_1
    """
    return "".join(_ESCAPES.get(letter, letter) for letter in text)


def table(results: Sequence[Result]) -> str:
    """One row a claim: its id, its statement with the formula below it, the verdict."""
    rows = [_row(result.claim.id, result.claim.statement, result.claim.latex, result.verdict) for result in results]
    return "\n".join([HEAD, *rows, r"\bottomrule", r"\end{longtable}", "}"])


def _row(name: str, statement: str, formula: str, verdict: str) -> str:
    breakable = escaped(name).replace("-", r"-\allowbreak ").replace(r"\_", r"\_\allowbreak ")
    below = rf" \fitted{{{formula}}}" if formula else ""
    return rf"\texttt{{{breakable}}} & {escaped(statement)}{below} & {verdict.lower()} \\ \addlinespace"
