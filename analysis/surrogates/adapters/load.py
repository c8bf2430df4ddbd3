"""From what a user types to an `Adapted`: a catalogue name, ``package.module:object``, ``path/to/file.py:object``."""

from __future__ import annotations

import contextlib
import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import Refused
from ...importing import module_at
from .. import lookup
from ..activation import Activation
from ..surrogate import Surrogate
from .adapt import adapt
from .adapted import Adapted


def load(target: str) -> Adapted:
    """The surrogate that a target names. A file or a module named here is imported: the user's own code runs.

    Raises:
        Refused: the target is neither a catalogue name nor of the form ``where:object``.
        Exception: whatever importing it, or looking the object up, raises; for the checks to record.
    """
    where, colon, path = target.rpartition(":")
    if not colon:
        entry = _by_name(target)
        adapted = adapt(entry)
        values = ", ".join(f"{name}={value!r}" for name, value in adapted.parameters.items())
        shelf = "ACTIVATIONS" if isinstance(entry, Activation) else "SURROGATES"
        recipe = f"import downslope as ds; f = ds.adapt(ds.{shelf}[{entry.name!r}].at({values}))"
        return replace(adapted, name=target, recipe=recipe)
    if where.endswith(".py"):
        module: Any = module_at(Path(where))
        first = f"import downslope as ds, runpy; it = runpy.run_path({where!r})"
        head, *rest = path.split(".")
        recipe = f"{first}[{head!r}]{''.join('.' + part for part in rest)}; f = ds.adapt(it)"
    else:
        if "" not in sys.path:  # a console script does not look into the working folder by itself
            sys.path.insert(0, "")
        module = importlib.import_module(where)
        recipe = f"import downslope as ds, {where} as library; f = ds.adapt(library.{path})"
    found = module
    for part in path.split("."):
        found = getattr(found, part)
    return replace(adapt(found), name=target, recipe=recipe)


def as_adapted(surrogate: Any) -> Adapted:
    """A surrogate in any shape: `Adapted`, `Surrogate`, a catalogue name, or whatever `adapt` takes."""
    if isinstance(surrogate, str):
        return load(surrogate)
    return adapt(surrogate)


def _by_name(name: str) -> Surrogate | Activation:
    """A surrogate of the catalogue, or an activation, which stands for its own derivative."""
    try:
        return lookup.surrogate(name)
    except Refused as refusal:
        with contextlib.suppress(Refused):
            return lookup.activation(name)
        hint = "(A definition of one's own is named package.module:object or path/to/file.py:object.)"
        raise Refused(f"{refusal} {hint}") from None
