"""A user's own Python file as a module: naming it on the command line runs it, which is what was asked for."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType


def module_at(file: Path) -> ModuleType:
    """The module that a file is; named twice, it runs once, unless it was changed in between.

    It is importable under a name of its own, so that its objects pickle, and its neighbours can be imported, as when
    Python runs a script.

    Raises:
        FileNotFoundError: there is no such file.
        Exception: whatever running it raises.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no Python file {file}")
    return _module(file.resolve(), file.stat().st_mtime_ns)


@cache
def _module(file: Path, changed: int) -> ModuleType:
    name = f"downslope_given_{file.stem}"
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    specification.loader.exec_module(module)
    return module
