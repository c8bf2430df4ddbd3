"""`measure`: the gradients of surrogates on a network and a batch, layer by layer, as a tidy table.

The exact reference is torch's own gradient of the untouched model, which takes no path through this project; the
surrogates share one other forward, and its loss must be the reference's to the last bit. Where the model is a chain
their gradients come stacked, else replayed one by one; where signs are not asked for, a chain's gradients are not even
formed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import Refused
from .chains.metrics import unsigned
from .deviation import Deviation
from .inputs import untouched
from .layers import layers
from .measuring.choice import Given, count, seeded
from .measuring.choice import surrogates as chosen_from
from .measuring.remarks import noted
from .measuring.rows import columns, compare, frame, places
from .measuring.setting import Loss, Setting
from .measuring.taking import native as natively
from .measuring.ways import CHAIN, Metrics, backwards, metrics, observed
from .per_sample.measurement import per_sample
from .references import REFERENCES
from .references.reference import Exact, Numbers, Reference, named
from .table import provenance
from .untie.untied import Choice

if TYPE_CHECKING:
    import pandas as pd


def measure(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    surrogates: Given,
    *,
    activations: Sequence[Any] | None = None,
    draws: int = 1,
    seed: int = 0,
    reference: str | Reference = "exact",
    samples: bool = False,
    signs: bool = True,
    network: str = "",
    stage: str = "",
    step: int | None = None,
) -> pd.DataFrame:
    """How far each surrogate's gradient deviates from the reference gradient, per layer and over all layers.

    The model is left as it was: parameters, ``grad``, buffers, modes and torch's random state. A forward that draws
    (dropout) draws the same for the reference and for every surrogate, from ``seed``. A model in training mode is
    measured in training mode; ``table.attrs["remarks"]`` say what that changes, and a `ModeWarning` where it is batch
    norm, which then uses the batch's statistics.

    Args:
        model: any module whose activations `untie` can reach.
        loss: ``loss(model(x), y)``, a scalar tensor.
        batch: ``(x, y)``; where ``x`` is a tuple the model is called as ``model(*x)``, where it is a mapping as
            ``model(**x)``.
        surrogates: names, `Surrogate` objects or ``"tied"``; each stands in for every activation at once.
        activations: which activations are untied, as `untie` takes its keys; all of the catalogue that run, where
            ``None``.
        draws: how many draws of each random surrogate.
        seed: of the surrogates' noise and of the forward's.
        reference: what to compare with; a name (with parameters in brackets where others than the usual are meant), or
            an object of `downslope.analysis.gradients.references`:

            - ``"exact"``: torch's own gradient. Undefined for parameters below a Heaviside, sign or round unit, where
              it is zero: use one of the others.
            - ``"smoothed"``, ``Smoothed(sigma)``: for Heaviside and sign units, the gradient of the expected loss when
              noise from N(0, sigma^2) is added to the preactivation of each of them; enumerated, so for small widths.
            - ``"expected"``, ``Expected(sigma, samples, ...)``: the same, enumerated for small widths, else an
              antithetic Monte Carlo estimate. Three more columns: ``cosine_standard_error``;
              ``reference_relative_error``, the standard error of the whole reference vector over its length; and
              ``corrected_cosine``, the cosine over sqrt(1 - the square of that), since noise in the reference brings
              the cosine nearer to 0 by that factor. Where the noise makes up half of the estimate's squared length or
              more, the row is undefined.
            - ``"finite-difference"``, ``FiniteDifference(distance)``: the loss's slope along each step. It has no
              cosine; ``directional_derivative`` holds it, ``directional_derivative_error`` its numerical error,
              ``exact_directional_derivative`` what the exact gradient says, where that is defined.
        samples: whether rows for each sample alone follow those of the batch, as `per_sample` makes them; they are
            compared with the exact gradient alone.
        signs: whether signs and zeros are counted. Without, ``kept``, ``flipped``, ``vanished``, ``appeared``,
            ``both_zero`` and the shares made of them are missing; for a chain (``nn.Sequential`` of linear,
            convolution, pooling and activation modules) the other numbers then take about half the time, and the exact
            gradient is the chain's own, torch's to rounding.
        network: coordinate, copied into each row.
        stage: coordinate, copied.
        step: coordinate, copied.

    Returns:
        A row for each surrogate, draw and layer, and one for the whole gradient. A layer is a module that owns
        parameters, which are taken together. Columns: the coordinates ``network``, ``activation`` (joined by "+"),
        ``surrogate``, ``reference``, ``layer`` (its path; "whole"), ``depth`` (1 for the first layer to run; 0 for the
        whole), ``stage``, ``step``, ``seed``, ``sample`` ("batch", or a sample's place), ``draw``; the fields of
        `Deviation`; ``state`` and ``reason``; the reference's own. Undefined numbers are missing, with the reason.
        ``attrs`` hold the provenance, the loss, how the reference was computed; ``"training"``: whether any module is
        in training mode, and ``"remarks"``: what that changes; ``"unreached"``: what `untie` could not reach (where
        ``activations`` is ``None``, inside of fused modules too; an `UnreachedWarning` names it); and under ``"way"``
        how the gradients came: ``"chain"``, stacked, or ``"replay"``, one by one; they are equal to rounding.

    Raises:
        Refused: the loss is not a finite scalar or does not depend on the parameters; a weight, buffer or the batch is
            not finite, or the batch is empty; the model runs no activation of the catalogue; a name is unknown or given
            twice; two runs of the same forward give different losses; the model is inside an open `untie` block; the
            reference cannot be computed on this model.

    >>> import torch
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch._C.Generator object at ...>
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    >>> batch = torch.randn(8, 3), torch.randn(8, 1)
    >>> table = measure(model, torch.nn.functional.mse_loss, batch, ["tied", "constant"])
    >>> table[["surrogate", "layer", "depth", "angle_degrees"]].round(1).to_string(index=False).split()[:4]
    ['surrogate', 'layer', 'depth', 'angle_degrees']
    """
    return measured(
        model,
        loss,
        batch,
        surrogates,
        activations=activations,
        draws=draws,
        seed=seed,
        reference=reference,
        samples=samples,
        signs=signs,
        network=network,
        stage=stage,
        step=step,
        caller="measure",
    )


def measured(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    surrogates: Given,
    *,
    activations: Sequence[Any] | None,
    draws: int,
    seed: int,
    reference: str | Reference = "exact",
    samples: bool = False,
    signs: bool = True,
    network: str,
    stage: str,
    step: int | None = None,
    caller: str,
) -> pd.DataFrame:
    """`measure`, whose refusals and warnings name ``caller``, the function that the user called."""
    import pandas as pd

    chosen = chosen_from(surrogates, caller)
    against = named(reference, REFERENCES, caller)
    count(draws, "draws", "at least one draw of each random surrogate is needed.", caller)
    seeded(seed, caller)
    if samples and not isinstance(against, Exact):
        raise Refused(
            f"{caller}(samples=True, reference={against.label!r}): single samples are compared with the exact gradient "
            f"alone; leave one of the two out."
        )
    setting = Setting.of(model, loss, batch, caller)
    with untouched(model, setting.owned, seed) as again:
        lean = None
        if not signs and isinstance(against, Exact):
            lean = metrics(setting, again, activations, list(chosen.values()), seed, draws)
        found = (
            _formed(setting, again, activations, chosen, against, seed, draws) if lean is None else _lean(lean, setting)
        )
        rows = [
            {
                "network": network,
                "activation": found.activation,
                "surrogate": list(chosen)[choice.index],
                "reference": against.label,
                "layer": layer,
                "depth": depth,
                "stage": stage,
                "step": step,
                "seed": seed,
                "sample": "batch",
                "draw": choice.draw,
            }
            | columns(compared if signs else unsigned(compared), numbers)
            for choice, layer, depth, compared, numbers in found.compared
        ]
    table = frame(rows)
    if samples:
        options: dict[str, Any] = {"network": network, "stage": stage, "step": step}
        each = per_sample(model, loss, batch, surrogates, activations=activations, draws=draws, seed=seed, **options)
        each.attrs = {}
        table = pd.concat([table, each], ignore_index=True).astype(table.dtypes.to_dict())
    table.attrs = provenance(
        seed=seed,
        device=str(setting.parameters[0].device),
        loss=found.loss,
        reference={"name": against.label, **found.facts},
        way=found.way,
        **noted(model, caller, activations, found.unreached, found.own),
    )
    return table


@dataclass(frozen=True)
class _Compared:
    """What a table is made of: for each surrogate, draw and layer its deviation and the reference's own numbers."""

    way: str
    activation: str
    loss: float
    unreached: Sequence[str]
    facts: Mapping[str, Any]
    compared: Sequence[tuple[Choice, str, int, Deviation, Numbers]]
    own: Sequence[str] = ()


def _formed(
    setting: Setting,
    again: Callable[[], None],
    activations: Sequence[Any] | None,
    chosen: Mapping[str, Any],
    against: Reference,
    seed: int,
    draws: int,
) -> _Compared:
    """By the gradients, with any reference."""
    observation = observed(setting)
    keys = list(observation.activations) if activations is None else list(activations)
    if not keys:
        raise Refused(f"{setting.caller}(model=...): {observation.nothing()}")
    native = natively(setting, observation, again)
    judge = against.prepare(native)
    of_layer = layers(setting.model, observation.order)
    with backwards(native, {key: list(chosen.values()) for key in keys}, seed, draws, observation) as found:
        compared = [
            (choice, *each)
            for choice, gradients in (list(found.gradients) if judge.reruns else found.gradients)
            for each in compare(of_layer, setting.parameters, gradients, native.exact, judge)
        ]
    return _Compared(found.way, found.activation, native.loss, found.unreached, judge.facts, compared, native.own)


def _lean(found: Metrics, setting: Setting) -> _Compared:
    """Without the gradients, of a chain. Its layers are all in use."""
    of_layer = layers(setting.model, found.observation.order)
    where = list(places(of_layer, setting.parameters, setting.parameters))
    compared: list[tuple[Choice, str, int, Deviation, Numbers]] = [
        (each.choice, path, depth, Deviation(reason=reason) if reason else each.layers.get(path, each.whole), {})
        for each in found.found
        for path, depth, _, reason in where
    ]
    return _Compared(CHAIN, found.activation, found.loss, (), {}, compared)
