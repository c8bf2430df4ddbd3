"""A user's own Python file as a module: naming it on the command line runs it, which is what was asked for."""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import cache
from hashlib import blake2b
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
    # The path is part of the name: two files of one stem are two modules, or the first's objects would not pickle.
    name = f"downslope_given_{file.stem}_{blake2b(os.fsencode(file), digest_size=4).hexdigest()}"
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    try:
        specification.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)  # half a module is not to be found
        raise
    return module
