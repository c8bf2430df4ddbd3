"""Other libraries, imported where they are installed; a test that needs one is skipped, with the reason, where not."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType
from typing import Protocol

import pytest


class Import(Protocol):
    def __call__(self, name: str) -> ModuleType: ...


@pytest.fixture(scope="session")
def peer() -> Import:
    """Imports a module of a peer. What its own import warns of is its own affair."""

    def get(name: str) -> ModuleType:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return importlib.import_module(name)
            except ImportError as error:
                pytest.skip(f"{name} cannot be imported ({error}): pip install --no-deps {name.split('.')[0]}")

    return get
