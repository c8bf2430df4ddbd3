"""The references by name, and what each is compared by.

Two ideas: a *reference* is a choice with its parameters, frozen; *prepared* on a model and a batch it becomes a judge,
which compares one surrogate gradient after another with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from inspect import signature
from typing import Any, Protocol

from torch import Tensor

from ...errors import Refused, near
from ...surrogates.lookup import parsed
from ..deviation import Against, Deviation, compared
from ..measuring.setting import Gradients
from ..measuring.taking import Native
from ..pairs import Pair

Numbers = Mapping[str, float | None]


class Judge(Protocol):
    """A reference on one model and batch."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """How it was computed, for the table's attrs."""

    @property
    def reruns(self) -> bool:
        """Whether it runs the model to judge; a run resets the buffers, which the graph of an earlier one may hold."""

    def __call__(self, where: Sequence[int], gradient: Gradients) -> tuple[Deviation, Numbers]:
        """Compares the parameters at these positions; the numbers are further columns."""


class Reference(Protocol):
    """What a surrogate gradient is compared with."""

    @property
    def label(self) -> str:
        """As in the column ``reference``: the name, with the parameters that are not the usual ones."""

    def prepare(self, native: Native) -> Judge:
        """Computes it."""


def labelled(name: str, reference: Any) -> str:
    """A reference's name, with those of its parameters that are not the usual ones."""
    values = {each.name: getattr(reference, each.name) for each in fields(reference)}
    usual = {each.name: each.default for each in fields(reference)}
    given = [f"{key}={value:g}" for key, value in values.items() if value != usual[key]]
    return f"{name}({', '.join(given)})" if given else name


@dataclass(frozen=True)
class Exact:
    """Torch's own gradient of the untouched model.

    Undefined for the parameters below a Heaviside, sign or round unit: the loss is flat through it, and the zero that
    differentiation gives there is no direction to compare with.
    """

    @property
    def label(self) -> str:
        """``exact``."""
        return "exact"

    def prepare(self, native: Native) -> Judge:
        """Already computed."""
        return _Exact(native)


class _Exact:
    """Keeps the sums of the last gradient: a layer's are parts of the whole gradient's."""

    reruns = False

    def __init__(self, native: Native) -> None:
        self.native = native
        self.facts: Mapping[str, Any] = {}
        self._against = Against(native.exact)
        self._last: tuple[Gradients, Sequence[Pair | None]] = (), ()

    def __call__(self, where: Sequence[int], gradient: Gradients) -> tuple[Deviation, Numbers]:
        if self._last[0] is not gradient:
            self._last = gradient, self._against.pairs(gradient)
        found = compared([pair for i in where if (pair := self._last[1][i]) is not None])
        if self.native.flat.isdisjoint(where):
            return found, {}
        return undirected(found, flatness(self.native.activations)), {}


def flatness(activations: Mapping[str, int]) -> str:
    """Why the exact gradient is no reference below a step, and what to use instead."""
    from .steps import FLAT, TWO_VALUED

    ran = [name for name in activations if name in FLAT]
    instead = "'finite-difference'" if set(ran) - set(TWO_VALUED) else "'smoothed', 'expected' or 'finite-difference'"
    return (
        f"the exact gradient is undefined here: the loss is flat through the model's {' and '.join(ran)} units, whose "
        f"derivative is zero; use reference={instead}"
    )


def undirected(compared: Deviation, reason: str) -> Deviation:
    """The same counts without a direction, for this reason."""
    none: dict[str, Any] = dict.fromkeys(("cosine", "angle_degrees", "log10_magnitude_ratio", "directional_derivative"))
    return replace(compared, **none, reason=reason)


def named(given: Any, known: Mapping[str, Callable[..., Reference]], caller: str) -> Reference:
    """A reference by its name, which may carry parameters (``"expected(sigma=0.5)"``), or the reference itself.

    Raises:
        Refused: there is none of that name, or it has no such parameter.
    """
    if isinstance(given, str):
        name, values = parsed(given)
        word = name.casefold().replace("_", "-")
        if word not in known:
            raise Refused(f"{caller}(reference={given!r}): no reference has that name; {near(name, known)}.")
        parameters = list(signature(known[word]).parameters)
        if unknown := [key for key in values if key not in parameters]:
            has = f"they are {', '.join(parameters)}" if parameters else "it has none"
            raise Refused(f"{caller}(reference={given!r}): {word} has no parameter {unknown[0]!r}; {has}.")
        numbers = {key: int(each) if each.denominator == 1 else float(each) for key, each in values.items()}
        return known[word](**numbers)
    if callable(getattr(given, "prepare", None)) and not isinstance(given, type):
        return given  # type: ignore[no-any-return]
    raise Refused(
        f"{caller}(reference={given!r}): a {type(given).__name__} is no reference; give one of {', '.join(known)}, or "
        f"e.g. Expected(sigma=0.5)."
    )


def positive(owner: str, name: str, value: object) -> None:
    """Refuses what is no finite number above 0."""
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    if not numeric or not 0 < float(value) < float("inf"):  # type: ignore[arg-type]
        raise Refused(f"{owner}({name}={value!r}): give a finite number above 0.")


def whole(owner: str, name: str, value: object, least: int) -> None:
    """Refuses what is no whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise Refused(f"{owner}({name}={value!r}): give a whole number of at least {least}.")


def added(total: list[Tensor | None], part: Gradients, weight: float = 1.0) -> None:
    """Adds a gradient to a running sum in float64; ``None`` is zero."""
    for index, each in enumerate(part):
        if each is not None:
            held = total[index]
            total[index] = weight * each.double() if held is None else held.add_(each.double(), alpha=weight)
