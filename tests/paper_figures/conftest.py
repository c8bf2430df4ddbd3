"""Synthetic tables of the stored schema: figures are tested on these, without training anything."""

import downslope as ds
import numpy as np
import pandas as pd
import pytest

STAGES = {"initialisation": 0, "first epoch": 23, "middle": 1150, "end": 2300}
DEPTH = {"mlp-digits": 2, "deep-tanh-digits": 4}


def synthetic(surrogates=None, networks=("mlp-digits", "deep-tanh-digits"), seeds=3) -> pd.DataFrame:
    """Deviations whose angle grows away from the output, one of 'rectangle' in the first layer undefined."""
    random = np.random.default_rng(0)
    rows = []
    for network in networks:
        for trained in ("tied", "constant"):
            for place, surrogate in enumerate(surrogates or ds.SURROGATES):
                for stage, step in STAGES.items():
                    for seed in range(seeds):
                        for depth in range(1, DEPTH[network] + 1):
                            above = DEPTH[network] - depth
                            angle = above * (4 + 1.5 * place) * (0.6 if stage == "end" else 1) + random.random() * above
                            undefined = surrogate == "rectangle" and depth == 1 and stage == "end" and seed == 0
                            flipped = int(20 * above * random.random())
                            rows.append(
                                {
                                    "network": network,
                                    "activation": "logistic" if network == "mlp-digits" else "tanh",
                                    "trained": trained,
                                    "surrogate": surrogate,
                                    "reference": "exact",
                                    "layer": f"{2 * (depth - 1)}",
                                    "depth": depth,
                                    "stage": stage,
                                    "step": step,
                                    "seed": seed,
                                    "sample": "batch",
                                    "draw": 0,
                                    "angle_degrees": np.nan if undefined else min(angle, 179.0),
                                    "cosine": np.nan if undefined else np.cos(np.radians(min(angle, 179.0))),
                                    "log10_magnitude_ratio": np.nan if undefined else 0.1 * above,
                                    "kept": 900 - flipped,
                                    "flipped": flipped,
                                    "vanished": 50,
                                    "appeared": 10,
                                    "both_zero": 40,
                                    "nonzero_fraction": 0.91,
                                    "state": "undefined" if undefined else "defined",
                                    "reason": "the surrogate gradient vanished" if undefined else "",
                                }
                            )
    return pd.DataFrame(rows)


def synthetic_curves(seeds=3, epochs=20) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "network": network,
            "activation": "logistic",
            "trained": trained,
            "seed": seed,
            "epoch": epoch,
            "step": 23 * epoch,
            "split": split,
            "loss": 2.3 * np.exp(-epoch * (0.1 if trained == "tied" else 0.2)) + 0.02 * random.random(),
            "accuracy": 0.97 - 0.87 * np.exp(-epoch * (0.1 if trained == "tied" else 0.3)) + 0.01 * random.random(),
        }
        for network in DEPTH
        for trained in ("tied", "constant")
        for seed in range(seeds)
        for split in ("train", "test")
        for epoch in range(epochs + 1)
    )


@pytest.fixture(scope="session")
def deviations():
    return synthetic()


@pytest.fixture(scope="session")
def curves():
    return synthetic_curves()


@pytest.fixture(scope="session")
def few():
    return synthetic(surrogates=("constant", "triangle", "rectangle"))
