"""What a surrogate gradient is compared with: the exact gradient, that of the expected loss, a difference of losses."""

from collections.abc import Callable, Mapping

from .difference import FiniteDifference as FiniteDifference
from .expected import Expected as Expected
from .expected import Smoothed as Smoothed
from .reference import Exact as Exact
from .reference import Reference as Reference

REFERENCES: Mapping[str, Callable[..., Reference]] = {
    "exact": Exact,
    "smoothed": Smoothed,
    "expected": Expected,
    "finite-difference": FiniteDifference,
}
"""What `measure(reference=...)` takes by name: each with its usual parameters, or with those in brackets."""
