"""Trained weights of our networks, kept in the user's cache: made by a command, and made again to the same bits.

A file is named by everything that its weights depend on but the machine and the versions, which it records; so a recipe
that changes has another file, and no old one is taken for it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ...analysis.errors import Refused
from ...analysis.gradients.table import provenance
from .. import cache, data, training
from ..download import OPENML
from . import NETWORKS, network
from .entry import Network

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "downslope.weights/1"
SMALL = tuple(name for name, entry in NETWORKS.items() if entry.data not in OPENML)
"""The networks that train in seconds, on data that are always at hand."""

_KEY = "downslope"


@dataclass(frozen=True)
class Stored:
    """A file of weights.

    Attributes:
        network: the entry's name.
        seed: of its training.
        path: the safetensors file.
        made: whether it was made now, rather than at hand.
        accuracy: on the test split, a fraction.
    """

    network: str
    seed: int
    path: Path
    made: bool
    accuracy: float

    @property
    def record(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return vars(self) | {"path": str(self.path)}


def several(
    names: Iterable[str],
    seeds: Sequence[int],
    *,
    again: bool = False,
    progress: Callable[[str, int], None] = lambda running, epochs: None,
) -> list[Stored]:
    """The weights of several networks, each under each seed; see `ensure`.

    Args:
        names: names in ``NETWORKS``.
        seeds: one training for each.
        again: make them although they are there.
        progress: called with what is running and the number of epochs done, over all trainings.

    Raises:
        Refused: as `ensure`; a wrong name before anything is trained.
    """
    done = itertools.count(1)

    def advance(name: str, seed: int) -> None:
        progress(f"{name}, seed {seed}", next(done))

    wanted = [(network(name).name, seed) for name in names for seed in seeds]
    return [ensure(name, seed, again=again, at_epoch=partial(advance, name, seed)) for name, seed in wanted]


def trained(name: str, seed: int = 0) -> nn.Module:
    """A network of ours with its trained weights, in evaluation mode: from the cache, else trained now and kept.

    Args:
        name: name in ``NETWORKS``.
        seed: of its initialisation, order of samples and noise.

    Raises:
        Refused: there is no network of that name, its file in the cache is damaged or foreign, or its data are not at
            hand.
    """
    entry = network(name)
    model = training.initialised(entry, seed)
    state, _ = _read(ensure(name, seed).path, _description(entry, seed))
    model.load_state_dict(state)
    return model.eval()


def ensure(name: str, seed: int = 0, *, again: bool = False, at_epoch: Callable[[], None] | None = None) -> Stored:
    """The weights of a network, trained now where they are not in the cache, or where ``again`` asks for it.

    Args:
        name: name in ``NETWORKS``.
        seed: of its initialisation, order of samples and noise.
        again: make them although they are there.
        at_epoch: called after each epoch of a training.

    Raises:
        Refused: as for `trained`, or the cache cannot be written.
    """
    entry = network(name)
    described = _description(entry, seed)
    path = cache.folder(
        "weights", f"{name}-seed-{seed}-{_digest(json.dumps(described, sort_keys=True).encode())}.safetensors"
    )
    if path.exists() and not again:
        return Stored(name, seed, path, False, _read(path, described)[1]["accuracy"])
    model, curves = training.train(entry, data.load(entry.data), seed=seed, at_epoch=at_epoch)
    accuracy = _accuracy(curves)
    cache.write(path, _bytes(model.state_dict(), described, accuracy))
    return Stored(name, seed, path, True, accuracy)


def _accuracy(curves: pd.DataFrame) -> float:
    return float(curves[curves["split"] == "test"]["accuracy"].iloc[-1])


def _description(entry: Network, seed: int) -> dict[str, Any]:
    """What the weights follow from; the module stands for its builder, by its layers and its first weights."""
    model = training.initialised(entry, seed)
    said = {key: getattr(entry, key) for key in ("name", "activation", "data", "loss", "backward")}
    start = _digest(repr(model).encode(), _content(model.state_dict()))
    return said | {"recipe": vars(entry.recipe), "seed": seed, "start": start}


def _bytes(state: Mapping[str, Tensor], described: Mapping[str, Any], accuracy: float) -> bytes:
    from safetensors.torch import save

    versions = provenance()["versions"]
    said = {"schema": SCHEMA, "made": described, "content": _digest(_content(state)), "accuracy": accuracy}
    # One key: safetensors writes several of them in an order that changes from call to call.
    text = json.dumps(said | {"versions": versions}, sort_keys=True)
    return save({name: tensor.contiguous() for name, tensor in state.items()}, {_KEY: text})


def _read(path: Path, described: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a file that is whole and was made as described."""
    from safetensors import SafetensorError, safe_open

    remedy = f"Remove it, or make it anew: downslope weights {described['name']} --seed {described['seed']} --again"
    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {}).get(_KEY, "null"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise Refused(f"{path} is no whole safetensors file ({error}). {remedy}") from error
    if not isinstance(said, dict) or said.get("schema") != SCHEMA or said.get("made") != dict(described):
        raise Refused(f"{path} was not made by this entry of the networks: its metadata say otherwise. {remedy}")
    if said.get("content") != _digest(_content(state)):
        raise Refused(f"{path} is damaged: its weights are not those that were written. {remedy}")
    return state, said


def _content(state: Mapping[str, Tensor]) -> bytes:
    parts = []
    for name, tensor in sorted(state.items()):
        parts += [
            f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode(),
            tensor.cpu().contiguous().numpy().tobytes(),
        ]
    return b"".join(parts)


def _digest(*parts: bytes) -> str:
    return blake2b(b"\0".join(parts), digest_size=8).hexdigest()
