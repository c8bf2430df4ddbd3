"""What can be told of the options before anything is loaded, in the words that the user typed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from ...errors import Refused
from ...surrogates.lookup import activation, surrogate
from ..measuring.choice import surrogates as chosen_from
from ..references import REFERENCES, Exact
from ..references.reference import named
from .fitting import loss as named_loss

OPTIONS = {
    "model": "--model",
    "loss": "--loss",
    "batch": "--data",
    "surrogates": "--surrogate",
    "activations": "--activation",
    "reference": "--reference",
    "samples": "--per-sample",
}
"""The arguments of the functions, by the options that fill them in."""

OURS = {"--network": None, "--trained": None, "--epochs": None}
"""Options of a measurement of a network of ours alone, and what they are where they are not typed."""

YOURS = {
    **{"--model": None, "--data": None, "--weights": None, "--loss": "cross-entropy"},
    **{"--activation": None, "--batches": None, "--training": False, "--stage": ""},
}
"""Those of a measurement of a user's model alone."""


def given(options: Mapping[str, object], values: Sequence[object]) -> list[str]:
    """Which of the options were typed, their values in the same order.

    >>> given(OURS, (None, None, 3))
    ['--epochs']
    """
    return [name for (name, unsaid), value in zip(options.items(), values, strict=True) if value != unsaid]


def mixed(ours: Sequence[object], yours: Sequence[object]) -> Refused:
    """What is said where options of both were typed, or of a user's model without the model or the data.

    >>> refusal = mixed(("mlp-digits", None, None), (None, None, None, "cross-entropy", None, None, True, "end"))
    >>> str(refusal).partition("other: ")[2]
    'leave out --training, --stage, or --network.'
    """
    first, second = given(OURS, ours), given(YOURS, yours)
    if first:
        said = f"leave out {', '.join(second)}, or {', '.join(first)}."
    else:
        lacking = [name for name in ("--model", "--data") if name not in second]
        said = f"{', '.join(second)} without {' and '.join(lacking)}."
    return Refused(f"give --model and --data, or --network; the options of the one do not go with the other: {said}")


def reworded(message: str) -> str:
    """A message of a function, whose head names the function's argument, with the options in their places.

    >>> reworded("measure(model=...): it runs no activation.")
    '--model: it runs no activation.'
    >>> reworded("measure(reference='smoothed'): too many units.")
    '--reference smoothed: too many units.'
    >>> reworded("use reference='smoothed', 'expected' or 'finite-difference'")
    'use --reference smoothed, expected or finite-difference'
    """
    head = re.match(r"(?:\w*\()?(\w+)=('[^']*'|\.\.\.)\)?: ", message)
    if head is not None and head[1] in OPTIONS:
        value = "" if head[2] == "..." else f" {head[2][1:-1]}"
        message = f"{OPTIONS[head[1]]}{value}: {message[head.end() :]}"
    message = re.sub(r"\breference='[^']*'(?:(?:, | or )'[^']*')*", _listed, message)
    return message.replace("activations=[ItsClass]", "--activation FILE.py:ItsClass")


def _listed(names: re.Match[str]) -> str:
    return names[0].replace("reference=", "--reference ").replace("'", "")


@contextmanager
def option(typed: str) -> Iterator[None]:
    """A refusal in the block is told of this option, as typed, instead of an argument of a function.

    A parameter in brackets that is at fault keeps its name: ``Expected(sigma=-1): ...`` becomes ``sigma=-1: ...``.
    """
    try:
        yield
    except Refused as refusal:
        said = re.sub(r"^\((reference='[^']*'|surrogates=(\.\.\.|\[\]))\): ", "", str(refusal))
        said = re.sub(r"^[A-Z][A-Za-z]*\(([^)]*)\): ", r"\1: ", said)
        raise Refused(f"{typed}: {said}") from refusal


def check_measured(
    surrogates: Sequence[str], reference: str, activations: Sequence[str] = (), *, per_sample: bool = False
) -> None:
    """Refuses what is wrong with the names and with their being together.

    Raises:
        Refused: a name is unknown or given twice, a parameter is out of its range, or ``--per-sample`` goes with
            another reference than the exact one.
    """
    check_surrogates(surrogates, tied=True)
    with option(f"--reference {reference}"):
        exact = isinstance(named(reference, REFERENCES, ""), Exact)
    if per_sample and not exact:
        raise Refused(
            f"--per-sample, --reference {reference}: single samples are compared with the exact gradient alone; leave "
            f"one of the two out."
        )
    for name in activations:
        if ".py:" not in name:
            with option(f"--activation {name}"):
                activation(name)


def check_surrogates(names: Sequence[str], *, tied: bool = False) -> None:
    """Refuses a name that is unknown or given twice; ``tied`` says whether "tied" is one."""
    for name in names:
        with option(f"--surrogate {name}"):
            chosen_from(name, "") if tied else surrogate(name)
    if names:
        with option("--surrogate"):
            chosen_from(list(names), "")


def check_setting(loss: str, device: str, weights: str | None = None, out: Path | None = None) -> None:
    """Refuses a loss, device, file of weights or place that is not there.

    Raises:
        Refused: the loss has no known name, torch has no such device, or there is no such file or folder.
    """
    if ".py:" not in loss:
        named_loss(loss)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise Refused(f"--device {device}: {str(error).splitlines()[0]}") from error
    if weights is not None and not Path(weights).is_file():
        raise Refused(f"--weights {weights}: there is no such file.")
    if out is not None and (not out.parent.is_dir() or out.is_dir()):
        raise Refused(f"--out {out}: cannot write there: there is no folder {out.parent}, or {out.name} is one.")
