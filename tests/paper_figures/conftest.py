"""Synthetic tables of the stored schema: figures are tested on these, without training anything."""

import downslope as ds
import numpy as np
import pandas as pd
import pytest
from downslope.paper_figures.gallery.theory import catalogue, ste

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


def with_prediction(table) -> pd.DataFrame:
    """The table with a mean-field prediction two degrees above what was measured, in the tied runs alone."""
    degrees = (table["angle_degrees"] + 2).where(table["trained"] == "tied")
    return table.assign(predicted_cosine=np.cos(np.radians(degrees)))


def synthetic_samples(surrogates=("constant", "triangle", "rectangle"), samples=64) -> pd.DataFrame:
    """Cosines of single samples of one network; 'triangle' has negative ones in the first layer, one is undefined."""
    random = np.random.default_rng(2)
    rows = [
        {
            "network": "mlp-digits",
            "trained": "tied",
            "surrogate": surrogate,
            "reference": "exact",
            "layer": f"{2 * (depth - 1)}",
            "depth": depth,
            "stage": "end",
            "step": 2300,
            "seed": seed,
            "sample": str(sample),
            "draw": 0,
            "cosine": np.clip(random.normal((0.3 if surrogate == "triangle" else 0.8) * depth, 0.3 / depth), -1, 1),
        }
        for surrogate in surrogates
        for depth in (1, 2)
        for seed in range(2)
        for sample in range(samples)
    ]
    table = pd.DataFrame(rows)
    table.loc[0, "cosine"] = np.nan
    return table


def synthetic_perceptron(seeds=5) -> pd.DataFrame:
    """Mistakes that grow with the inputs; the random factor's longest run had not converged."""
    factors = {"constant": (1.0, 1.0), "leaky_rectangle": (4.0, np.nan), "full_jam": (np.nan, 4 / 3)}
    return pd.DataFrame(
        {
            "features": d,
            "threshold": 0.5,
            "surrogate": name,
            "kappa": kappa,
            "second_moment": moment,
            "seed": seed,
            "mistakes": 3 * d + seed,
            "passes": 4,
            "converged": not (name == "full_jam" and d == 16 and seed == 0),
        }
        for name, (kappa, moment) in factors.items()
        for d in (2, 4, 8, 16)
        for seed in range(seeds)
    )


def synthetic_along(surrogates=("constant", "triangle", "fast_sigmoid"), seeds=3) -> pd.DataFrame:
    """A parabola of the step size for each surrogate; 'fast_sigmoid' climbs from the start."""
    steepness = {"exact": 1.0, "constant": 0.8, "triangle": 0.5, "fast_sigmoid": -0.2}
    return pd.DataFrame(
        {
            "network": "mlp-digits",
            "trained": "tied",
            "surrogate": surrogate,
            "seed": seed,
            "scale": scale,
            "step_size": step,
            "loss": 2.0 + 0.05 * seed - steepness[surrogate] * step + (0.4 + 0.02 * seed) * step**2,
            "change": -steepness[surrogate] * step + (0.4 + 0.02 * seed) * step**2 + (scale == "normalised"),
            "bound": 0.3,
        }
        for surrogate in ("exact", *surrogates)
        for scale in ("raw", "normalised")
        for seed in range(seeds)
        for step in np.geomspace(0.01, 10, 25)
    )


def synthetic_slice(surrogates=("constant", "triangle", "fast_sigmoid")) -> pd.DataFrame:
    """A bowl on the plane of both gradients."""
    cosines = {"constant": 0.8, "triangle": 0.5, "fast_sigmoid": -0.2}
    return pd.DataFrame(
        {
            "network": "mlp-digits",
            "surrogate": surrogate,
            "along_gradient": x,
            "along_surrogate": y,
            "loss": 2.0 - x + 0.5 * x**2 + 0.3 * y**2,
            "direction": cosines[surrogate],
            "across": (1 - cosines[surrogate] ** 2) ** 0.5,
        }
        for surrogate in surrogates
        for x in np.linspace(-1, 2, 16)
        for y in np.linspace(-1.5, 1.5, 16)
    )


def synthetic_margins(surrogates=("constant", "triangle", "rectangle"), seeds=2) -> pd.DataFrame:
    """Two places; at the second nothing was found by the attack and one spread is infinite. Bounds and spreads grow a
    little with the seed."""
    kappas = {"constant": 3.0, "triangle": 40.0, "rectangle": np.inf}
    return pd.DataFrame(
        {
            "network": "mlp-digits",
            "place": place,
            "layer": f"{2 * (depth - 1)}",
            "depth": depth,
            "seed": seed,
            "samples": 16,
            "activation": "relu",
            "certified": 5.0 * depth + seed,
            "attacked": 25.0 + seed if depth == 1 else np.inf,
            "kappa_star": 27.0 + seed if depth == 1 else np.nan,
            "surrogate": surrogate,
            "kappa": kappas[surrogate] * (3 - depth) + seed,
            "least_kappa": kappas[surrogate] + seed,
            "most_kappa": kappas[surrogate] * (3 - depth) + seed,
        }
        for depth, place in enumerate(("1.relu", "3.relu"), start=1)
        for surrogate in surrogates
        for seed in range(seeds)
    )


def synthetic_grid(rules=("tied", "constant", "triangle(width=2)", "rectangle"), seeds=3) -> pd.DataFrame:
    """Accuracy that goes with alignment."""
    random = np.random.default_rng(3)
    rows = [
        (network, forward, rule, rate, seed, 0.98 - 0.2 * place + 0.02 * random.random())
        for network in ("mlp-digits", "deep-tanh-digits")
        for forward in ("logistic", "tanh")
        for place, rule in enumerate(rules)
        for rate in (0.01, 0.1)
        for seed in range(seeds)
    ]
    table = pd.DataFrame(rows, columns=["network", "forward", "rule", "learning_rate", "seed", "alignment"])
    return table.assign(final_accuracy=0.5 + 0.4 * table["alignment"] + 0.05 * (table["learning_rate"] > 0.05))


def synthetic_jamming(surrogates=("full_jam", "positive_jam"), seeds=4) -> pd.DataFrame:
    """Cosine and SNR that follow mu^2/(mu^2 + s^2/n) up to noise."""
    random = np.random.default_rng(4)
    rows = []
    for place, surrogate in enumerate(surrogates):
        for depth, layer in enumerate(("whole", "0", "2")):
            for averaged in (1, 2, 4, 8, 16, 32):
                snr = (3 + depth) / (1 + place) * averaged
                for seed in range(seeds):
                    noise = 1 + 0.02 * random.standard_normal()
                    rows.append(
                        {
                            "network": "mlp-digits",
                            "trained": "tied",
                            "surrogate": surrogate,
                            "layer": layer,
                            "depth": depth,
                            "averaged": averaged,
                            "seed": seed,
                            "cosine": min(1.0, (snr / (1 + snr)) ** 0.5 * noise),
                            "snr": snr * noise,
                            "predicted_cosine": (snr / (1 + snr)) ** 0.5,
                            "predicted_snr": snr,
                        }
                    )
    return pd.DataFrame(rows)


def every_table(surrogates=None) -> dict[str, pd.DataFrame]:
    """Each stored table, by name."""
    return {
        "deviations": with_prediction(synthetic(surrogates)),
        "curves": synthetic_curves(),
        "samples": synthetic_samples(),
        "perceptron": synthetic_perceptron(),
        "along": synthetic_along(),
        "slice": synthetic_slice(),
        "margins": synthetic_margins(),
        "grid": synthetic_grid(),
        "jamming": synthetic_jamming(),
    }


@pytest.fixture(scope="session")
def deviations():
    return synthetic()


@pytest.fixture(scope="session")
def curves():
    return synthetic_curves()


@pytest.fixture(scope="session")
def few():
    return synthetic(surrogates=("constant", "triangle", "rectangle"))


@pytest.fixture(scope="session")
def every():
    return every_table(("constant", "triangle", "rectangle"))


@pytest.fixture(scope="session")
def one_run(every):
    """Gives the tables as figures get them: the deviations of one run, and what is computed for a few surrogates."""

    def of(network, surrogates):
        table = every["deviations"]
        kept = table[(table["network"] == network) & (table["trained"] == "tied")]
        few = [ds.SURROGATES[name] for name in surrogates]
        return {**every, "shapes": catalogue.shapes(few), "ste": ste.curves(few), "deviations": kept}

    return of
