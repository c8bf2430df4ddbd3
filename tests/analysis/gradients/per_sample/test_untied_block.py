"""The exact gradient is taken of the model itself, never of one that is untied at the time; memory stays bounded."""

from __future__ import annotations

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.per_sample.maps import units
from downslope.analysis.gradients.per_sample.maps.products import numbers
from downslope.analysis.gradients.per_sample.measurement import per_sample
from torch import nn


def test_inside_an_untied_block_it_is_refused() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3))
    batch = torch.randn(5, 4), torch.randint(3, (5,))
    with pytest.raises(Refused, match="inside an open `with untie"), ds.untie(model, {"logistic": "constant"}):
        per_sample(model, F.cross_entropy, batch, "triangle")


def test_a_part_holds_no_more_than_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Sigmoid(), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(400, 3))

    class Own(nn.Sequential):
        pass

    held: list[tuple[int, int]] = []
    right = units.products

    def seen(features: torch.Tensor, reference: torch.Tensor, errors: torch.Tensor, **how: bool) -> object:
        held.append((len(reference), numbers(features, reference, len(errors))))
        return right(features, reference, errors, **how)

    monkeypatch.setattr(units, "products", seen)
    monkeypatch.setattr(units, "BUDGET", 2**17)
    x, y = torch.randn(16, 1, 16, 16), torch.randint(3, (16,))
    parts = per_sample(Own(*model), F.cross_entropy, (x, y), ["triangle", "constant"])
    assert all(samples * each <= 2**17 for samples, each in held)
    assert len(held) > 3
    monkeypatch.setattr(units, "BUDGET", 2**30)
    whole = per_sample(Own(*model), F.cross_entropy, (x, y), ["triangle", "constant"])
    assert (parts.angle_degrees - whole.angle_degrees).abs().max() < 1e-4
