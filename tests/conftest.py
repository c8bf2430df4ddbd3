"""What every test runs under: one thread, no display, and Hypothesis without a clock."""

from __future__ import annotations

import os

# Before torch is imported, here or in a child process: the workers of `pytest -n 2` share two cores.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)

# A deadline would test the machine's load. CI draws the same examples each time; at home they vary.
hypothesis.settings.register_profile("home", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "home")
