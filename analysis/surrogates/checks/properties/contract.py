"""The contract of a backward factor: linear in the upstream gradient, entrywise, true to dtype, shape and layout."""

from __future__ import annotations

import torch

from ... import strategies
from ..check import check
from ..record import Record, note, passed, skipped, violation
from ..search import grids
from ..search.shrink import hunt
from ..subject import Subject, TargetRaised, short

ROUNDING = 1e-5

Pair = tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]


@check()
def linear_in_upstream(subject: Subject) -> Record:
    """B(u, a g + h) = a B(u, g) + B(u, h): the backward scales and adds as gradients do, and B(u, 0) = 0."""
    from hypothesis import strategies as st

    if not subject.seeded:
        return skipped("the same seed gives different draws: see reproducible")

    def differs(drawn: Pair) -> bool:
        u, g, h, a = drawn
        together = subject.respond(u, a * g + h).gradient
        apart = a * subject.respond(u, g).gradient + subject.respond(u, h).gradient
        size = apart[apart.isfinite()].abs().max() if bool(apart.isfinite().any()) else torch.zeros(())
        return not _close(together, apart, scale=size + (a * g).abs().max() * 1e-3)

    def three(side: int) -> st.SearchStrategy[Pair]:
        one = strategies.upstream_gradients(torch.float64, shape=(side,))
        points = st.lists(st.floats(-4, 4, width=16), min_size=side, max_size=side)
        tensors = points.map(lambda values: torch.tensor(values, dtype=torch.float64))
        return st.tuples(tensors, one, one, st.sampled_from([1.0, -1.0, 3.0, 1e-3, 1e4]))

    generator = subject.generator()
    u4, g4, h4 = (torch.randn(4, generator=generator, dtype=torch.float64) for _ in range(3))
    fixed = ((u4, g4, h4, a) for a in (1.0, -1.0, 1e-3, 1e4))
    found = hunt(subject.seed, st.sampled_from([1, 2, 3, 4]).flatmap(three), differs, subject.examples)
    found = found or next((drawn for drawn in fixed if differs(drawn)), None)
    if found is None:
        return passed("linear in the upstream gradient")
    u, g, h, a = found
    upstream = a * g + h
    then = f"print(torch.autograd.grad(f(u), u, torch.tensor({upstream.tolist()}, dtype=torch.float64))[0])"
    return violation(
        "not linear in the upstream gradient: what one loss term sends back depends on the others, so this is no "
        "factor and the mean over a batch is not the batch's mean",
        u=u,
        g=g,
        h=h,
        a=a,
        together=subject.respond(u, upstream).gradient,
        apart=a * subject.respond(u, g).gradient + subject.respond(u, h).gradient,
        python=subject.python(u.tolist(), torch.float64, then),
    )


@check()
def elementwise(subject: Subject) -> Record:
    """phi(u)_i and B(u, g)_i depend on u_i and g_i alone."""
    if not subject.seeded:
        return skipped("the same seed gives different draws: see reproducible")
    generator = subject.generator()
    u = (torch.randint(-16, 17, (4, 3, 5), generator=generator) / 8).double()
    g = torch.randint(1, 9, u.shape, generator=generator).double() / 4
    if subject.forward(u).shape != u.shape:
        return skipped("the shape changes: see shape-preserved")
    whole = subject.respond(u, g)
    for keep in (0, 31, 59):
        for scale in (-1.0, 64.0):
            other_u, other_g = u.flatten() * scale + 1 / 16, g.flatten() * scale
            other_u[keep], other_g[keep] = u.flatten()[keep], g.flatten()[keep]
            other = subject.respond(other_u.reshape(u.shape), other_g.reshape(g.shape))
            for what, a, b in (("value", whole.y, other.y), ("gradient", whole.gradient, other.gradient)):
                before, after = float(a.flatten()[keep]), float(b.flatten()[keep])
                if not _close(torch.tensor(before), torch.tensor(after), scale=torch.tensor(abs(before))):
                    return violation(
                        f"one entry's {what} moves from {before:.6g} to {after:.6g} when only the other entries "
                        f"change: a unit's update depends on its neighbours, so no factor per unit stands behind it",
                        index=keep,
                        u=float(u.flatten()[keep]),
                        before=before,
                        after=after,
                        python=subject.python(
                            [1.0, 2.0],
                            torch.float64,
                            "print(torch.autograd.grad(f(u), u, torch.tensor([1.0, 64.0]).double()))",
                        ),
                    )
    return passed("each entry on its own")


@check()
def dtype_preserved(subject: Subject) -> Record:
    """phi(u) and the gradient have the dtype of u, and float64 in means float64 all through."""
    refused = []
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        try:
            response = subject.respond(grids.coarse(dtype))
        except TargetRaised as raised:
            refused.append(f"{short(dtype)} ({raised})")
            continue
        for what, got in (("value", response.y.dtype), ("gradient", response.gradient.dtype)):
            if got != dtype:
                return violation(
                    f"the {what} of a {short(dtype)} preactivation is {short(got)}: the next layer refuses it, or "
                    f"computes on in another precision",
                    dtype=short(dtype),
                    returned=short(got),
                    python=subject.python(0.5, dtype, "print(f(u).dtype)"),
                )
    if subject.narrow:
        return violation(
            "a float64 gradient holds only float32 numbers: the backward computes in lower precision than it says",
            dtype="float64",
            python=subject.python(0.3, torch.float64),
        )
    if refused:
        return note(f"refuses {'; '.join(refused)}: it cannot be trained in that precision")
    return passed("the dtype of its input, in four dtypes")


@check()
def shape_preserved(subject: Subject) -> Record:
    """phi(u) and the gradient have the shape of u: scalars, empty tensors and images alike."""
    refused = []
    for shape in ((5,), (2, 3), (2, 3, 4, 5), (1,), (), (0,), (2, 0, 3)):
        u = torch.full(shape, 0.25)
        try:
            response = subject.respond(u)
        except TargetRaised as raised:
            refused.append(f"{shape} ({raised})")
            continue
        for what, got in (("value", response.y.shape), ("gradient", response.gradient.shape)):
            if got != u.shape:
                return violation(
                    f"the {what} for shape {shape} has shape {tuple(got)}: the next layer gets another tensor "
                    "than this one",
                    shape=shape,
                    returned=tuple(got),
                    python=f"import torch; {subject.adapted.recipe}; print(f(torch.full({shape}, 0.25)).shape)",
                )
    if refused:
        return note(f"refuses the shapes {'; '.join(refused)}")
    return passed("the shape of its input, scalars and empty tensors too")


@check()
def layout(subject: Subject) -> Record:
    """Strides are free: u and g in any memory layout give the values of contiguous ones, and neither is written to."""
    u = torch.tensor([[-1.5, -0.25, 0.125], [0.5, 1.25, 3.0]], dtype=torch.float64)
    g = torch.tensor([[1.0, -2.0, 0.5], [4.0, 0.25, -1.0]], dtype=torch.float64)
    if subject.forward(u).shape != u.shape:
        return skipped("the shape changes: see shape-preserved")
    plain = subject.respond(u, g)
    for way in strategies.LAYOUTS:
        leaf = u.clone().requires_grad_()
        inner, upstream = way.lay(leaf * 1), way.lay(g.clone())
        response = subject.respond_at(leaf, inner, upstream)
        for what, before, after in (("preactivation", u, inner.detach()), ("upstream gradient", g, upstream)):
            if not torch.equal(before, after):
                return violation(
                    f"the {what} is overwritten: another branch that uses it, a skip connection say, gets "
                    "other numbers",
                    layout=way.name,
                    before=before,
                    after=after,
                    python=subject.python(u.tolist(), torch.float64, "v = u * 1; f(v).sum().backward(); print(u, v)"),
                )
        for what, a, b in (("value", plain.y, response.y), ("gradient", plain.gradient, response.gradient)):
            if not subject.random and not _close(a, b, scale=a.abs().max()):
                then = f"v = u.T if {way.name == 'transposed'} else torch.stack([u, u], -1)[..., 0]; print(f(v))"
                return violation(
                    f"the {what} of a {way.name} tensor differs from that of a contiguous one: entries are taken from "
                    f"the wrong places in memory",
                    layout=way.name,
                    contiguous=a,
                    found=b,
                    python=subject.python(u.tolist(), torch.float64, then),
                )
    expanded = torch.tensor(0.5, dtype=torch.float64).expand(2, 3)
    written = subject.respond(u, expanded.contiguous()).gradient
    if not subject.random and not _close(subject.respond(u, expanded).gradient, written):
        return violation(
            "an expanded upstream gradient, as sum() and mean() send it, gives another gradient than a written-out one",
            layout="expanded",
            python=subject.python(u.tolist(), torch.float64),
        )
    return passed("contiguous, transposed, strided, offset and expanded tensors alike; nothing overwritten")


def _close(a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor | None = None) -> bool:
    """Equal up to rounding, measured against the larger of the values and ``scale``."""
    size = torch.maximum(a.abs(), b.abs()) if scale is None else torch.as_tensor(scale)
    return a.shape == b.shape and bool(((a - b).abs() <= ROUNDING * size + 1e-30)[a.isfinite() & b.isfinite()].all())
