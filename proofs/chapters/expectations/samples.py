"""Independent evaluations for chapter `ste`: draws of the whole layer, and quadrature in the plane of w and w*."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, inf, pi, sin, tan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Yin:
    """A point (v, w) beside (v*, w*): three hidden units, inputs in the plane of w and w*."""

    v: tuple[float, float, float]
    v_star: tuple[float, float, float]
    rho: float
    theta: float

    @classmethod
    def cases(cls) -> tuple[Yin, ...]:
        """An acute and an obtuse angle."""
        return cls((1.0, -0.5, 0.75), (0.5, 1.0, 0.25), 0.8, 1.1), cls((0.3, 0.9, -1.2), (1.0, -0.5, 0.7), 1.6, 2.3)

    @classmethod
    def spurious(cls) -> Yin:
        """The spurious minimiser: theta = pi and v = (I+J)^(-1)(J-I)v*."""
        import numpy as np

        star, ones = np.array([1.0, 0.5, -0.25]), np.ones((3, 3))
        v = np.linalg.solve(np.eye(3) + ones, (ones - np.eye(3)) @ star)
        return cls((float(v[0]), float(v[1]), float(v[2])), (1.0, 0.5, -0.25), 1.2, pi)

    @property
    def scalars(self) -> dict[str, float]:
        """|v|^2, v.v*, 1'v, 1'v*, |v*|^2 by the names of the chapter's symbols."""
        d = sum(a * b for a, b in zip(self.v, self.v_star, strict=True))
        squares = {"vv": sum(a * a for a in self.v), "nn": sum(a * a for a in self.v_star)}
        return {**squares, "d": d, "s": sum(self.v), "s_star": sum(self.v_star)}

    def __str__(self) -> str:
        return f"theta = {self.theta:.3g}, |w| = {self.rho:g}, v = {self.v}"


def psi_of(name: str, z: Any) -> Any:
    """The backward factors of these evaluations at an array of preactivations."""
    import numpy as np

    if name == "identity":
        return np.ones_like(z)
    if name == "relu":
        return (z > 0) * 1.0
    if name == "clipped":
        return ((z > 0) & (z < 1)) * 1.0
    return np.cosh(z) ** -2 if name == "tanh" else np.maximum(0, 1 - np.abs(z))


def _layer(case: Yin, draws: int) -> tuple[Any, Any, Any]:
    """Normal inputs along and across w, and the error v'sigma - v*'sigma* of each draw."""
    import numpy as np

    generator = np.random.default_rng(1903_05662)
    s, y = generator.standard_normal((2, draws, 3))
    fires, star = (s > 0) * 1.0, (s * cos(case.theta) + y * sin(case.theta) > 0) * 1.0
    return s, y, fires @ np.array(case.v) - star @ np.array(case.v_star)


def _mean(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


def loss_draws(case: Yin, draws: int) -> tuple[float, float]:
    """The mean of half the squared error over ``draws`` inputs, with its standard error."""
    return _mean(_layer(case, draws)[2] ** 2 / 2)


def coarse_draws(case: Yin, name: str, draws: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """The mean coarse gradient by w, along w and across it, with standard errors."""
    import numpy as np

    s, y, error = _layer(case, draws)
    weight = psi_of(name, case.rho * s) * np.array(case.v) * error[:, None]
    along, across = _mean((weight * s).sum(axis=1)), _mean((weight * y).sum(axis=1))
    return (along[0], across[0]), (along[1], across[1])


def plane_quadrature(case: Yin, name: str) -> tuple[float, float]:
    """E[y psi(|w| s) 1{s* > 0}] by quadrature over the plane, and E psi(|w| sin(theta) y) by quadrature."""
    import numpy as np
    from scipy.integrate import quad
    from scipy.stats import norm

    kinks = [0.0, 1 / case.rho, -1 / case.rho]

    def inner(s: float) -> float:
        mass = quad(lambda y: y * norm.pdf(y), -s / tan(case.theta), inf, epsabs=1e-12)[0]
        return float(norm.pdf(s) * psi_of(name, np.array(case.rho * s)) * mass)

    across = quad(inner, -9, 9, points=kinks, epsabs=1e-11, limit=200)[0]
    scale = case.rho * sin(case.theta)
    kinks = [0.0, 1 / scale, -1 / scale]
    expected = quad(lambda y: float(norm.pdf(y) * psi_of(name, np.array(scale * y))), -9, 9, points=kinks, limit=200)[0]
    return float(across), float(expected)
