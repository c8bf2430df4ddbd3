"""`measure`: the gradients of surrogates on a network and a batch, layer by layer, as a tidy table.

The exact reference is torch's own gradient of the untouched model, which takes no path through this project; the
surrogates share one more forward, and its loss must be the reference's to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import Refused
from .inputs import untouched
from .layers import layers, observe
from .measuring.choice import Given, count, seeded
from .measuring.choice import surrogates as chosen_from
from .measuring.rows import compare, frame
from .measuring.setting import Loss, Setting
from .measuring.taking import native as natively
from .measuring.taking import same
from .per_sample.measurement import per_sample
from .references import REFERENCES
from .references.reference import Exact, Reference, named
from .table import provenance
from .untie.untied import untie

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
    network: str = "",
    stage: str = "",
    step: int | None = None,
) -> pd.DataFrame:
    """How far each surrogate's gradient deviates from the reference gradient, per layer and over all layers.

    The model is left as it was: parameters, ``grad``, buffers, modes and torch's random state. A forward that draws
    (dropout) draws the same for the reference and for every surrogate, from ``seed``. A model in training mode is
    measured in training mode (batch norm then uses the batch's statistics); ``table.attrs["training"]`` says so.

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
        network: coordinate, copied into each row.
        stage: coordinate, copied.
        step: coordinate, copied.

    Returns:
        A row for each surrogate, draw and layer, and one for the whole gradient. A layer is a module that owns
        parameters, which are taken together. Columns: the coordinates ``network``, ``activation`` (joined by "+"),
        ``surrogate``, ``reference``, ``layer`` (its path; "whole"), ``depth`` (1 for the first layer to run; 0 for the
        whole), ``stage``, ``step``, ``seed``, ``sample`` ("batch", or a sample's place), ``draw``; the fields of
        `Deviation`; ``state`` and ``reason``; the reference's own. Undefined numbers are missing, with the reason.
        ``attrs`` hold the provenance, the loss, how the reference was computed, and what `untie` could not reach.

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
    import pandas as pd

    chosen = chosen_from(surrogates, "measure")
    against = named(reference, REFERENCES, "measure")
    count(draws, "draws", "at least one draw of each random surrogate is needed.", "measure")
    seeded(seed, "measure")
    if samples and not isinstance(against, Exact):
        raise Refused(
            f"measure(samples=True, reference={against.label!r}): single samples are compared with the exact gradient "
            f"alone; leave one of the two out."
        )
    setting = Setting.of(model, loss, batch, "measure")
    with untouched(model, setting.owned, seed) as again:
        observation = observe(model, setting.output)
        keys = list(observation.activations) if activations is None else list(activations)
        if not keys:
            raise Refused(f"measure(model=...): {observation.nothing()}")
        native = natively(setting, observation, again)
        judge = against.prepare(native)
        again()
        with untie(model, {key: list(chosen.values()) for key in keys}, torch.Generator().manual_seed(seed)) as untied:
            found = same(setting.value(), native)
            of_layer = layers(model, observation.order)
            rows: list[dict[Any, Any]] = []
            replays = untied.replay(found, setting.parameters, draws=draws)
            for choice, gradients in list(replays) if judge.reruns else replays:
                coordinates = {
                    "network": network,
                    "activation": "+".join(rule.key for rule in untied.rules),
                    "surrogate": list(chosen)[choice.index],
                    "reference": against.label,
                }
                for layer, depth, compared in compare(of_layer, setting.parameters, gradients, native.exact, judge):
                    at = {"layer": layer, "depth": depth, "stage": stage, "step": step, "seed": seed}
                    rows.append(coordinates | at | {"sample": "batch", "draw": choice.draw} | compared)
    table = frame(rows)
    if samples:
        options: dict[str, Any] = {"network": network, "stage": stage, "step": step}
        each = per_sample(model, loss, batch, surrogates, activations=activations, draws=draws, seed=seed, **options)
        each.attrs = {}
        table = pd.concat([table, each], ignore_index=True).astype(table.dtypes.to_dict())
    table.attrs = provenance(
        seed=seed,
        device=str(setting.parameters[0].device),
        training=model.training,
        loss=native.loss,
        unreached=[str(each) for each in untied.unreached],
        reference={"name": against.label, **judge.facts},
    )
    return table
