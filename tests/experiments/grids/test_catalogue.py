"""The grids by name: the paper's settings, nothing twice, nothing unknown, and what cannot be trained is said."""

from dataclasses import replace

import pytest
from downslope.analysis.errors import Refused
from downslope.analysis.surrogates.lookup import activation, surrogate
from downslope.experiments.data import DATASETS
from downslope.experiments.grids.catalogue import GRIDS, PAPER
from downslope.experiments.grids.grid import Block, grid, own_data, stages_of
from downslope.experiments.grids.job import Job, jobs
from downslope.experiments.networks import network

QUICK = [each.quick() for each in GRIDS.values()]
ALL = [*GRIDS.values(), *QUICK]


def settings(name):
    """(network, forwards, learning rate, batch, epochs, momentum) of a grid of one block."""
    (block,) = GRIDS[name].blocks
    return block.networks, block.forwards, block.learning_rates, block.batches, block.epochs, block.momentum


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("suc-ones", (("unit-ones",), ("logistic",), (0.1,), (32,), 30, 0.0)),
        ("mlp-digits", (("mlp-digits",), ("logistic",), (0.05,), (64,), 100, 0.0)),
        ("lenet-mnist", (("lenet-mnist",), ("logistic",), (0.01,), (256,), 30, 0.9)),
        (
            "lenet-jamming",
            (("lenet-mnist", "lenet-fashion"), ("relu", "identity", "logistic"), (0.01,), (64,), 20, 0.0),
        ),
        ("bnn-ones", (("binary-ones",), ("heaviside",), (0.1,), (64,), 20, 0.0)),
    ],
)
def test_the_papers_settings(name, expected):
    assert settings(name) == expected
    assert GRIDS[name].blocks[0].rules == PAPER
    assert len(GRIDS[name].seeds) >= 5


def test_the_papers_rules_are_seven():
    assert set(PAPER) == {
        *("tied", "constant", "rectangle", "triangle"),
        *("full_jam", "positive_jam", "rectangular_jam"),
    }


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.name)
def test_every_name_is_known_and_no_cell_stands_twice(each):
    cells = each.cells()
    assert len(set(cells)) == len(cells) > 0
    for cell in cells:
        network(cell.network)
        surrogate(cell.rule, activation(cell.forward))
        assert own_data(cell).split(":")[0] in DATASETS


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.name)
def test_each_cell_stands_in_exactly_one_job(each):
    found = [cell for job in jobs(each) for cell in job.cells]
    assert sorted(found, key=repr) == sorted(each.cells(), key=repr)
    assert len({job.key for job in jobs(each)}) == len(jobs(each))


@pytest.mark.parametrize("each", GRIDS.values(), ids=lambda each: each.name)
def test_a_quick_grid_is_a_small_part(each):
    def work(grid):
        """Epochs, those on a few samples of an image set by their share of its 60,000."""
        shares = {cell: int(own_data(cell).partition(":")[2] or 60_000) / 60_000 for cell in grid.cells()}
        return sum(cell.epochs * share for cell, share in shares.items())

    assert work(each.quick()) < work(each) / 5
    assert len(each.quick().seeds) >= 2
    with_tied = {cell.rule for cell in each.quick().cells()}
    assert "tied" in with_tied or each.left_out()


def test_a_step_is_never_tied_and_the_reason_is_said():
    assert {cell.rule for cell in grid("bnn-ones").cells()} == set(PAPER) - {"tied"}
    assert "the derivative of heaviside is 0" in grid("bnn-ones").left_out()["heaviside / tied"]
    assert grid("mlp-digits").left_out() == {}


def test_axes_can_be_replaced():
    varied = grid("mlp-digits").varied(
        forwards=["tanh"],
        rules=["tied", "triangle(width=2)"],
        learning_rates=[0.1, 0.2],
        batches=[8],
        epochs=3,
        seeds=2,
    )
    assert len(varied.cells()) == 2 * 2 * 2
    assert {(cell.forward, cell.batch, cell.epochs) for cell in varied.cells()} == {("tanh", 8, 3)}
    assert grid("mlp-digits").varied() == grid("mlp-digits")


def test_a_rule_has_one_spelling():
    typed = ["triangle", "Triangle", " triangle", "triangle(width=1)", "piecewise-quadratic( width = 1.0 )"]
    varied = grid("mlp-digits").varied(rules=typed)
    assert {cell.rule for cell in varied.cells()} == {"triangle"}
    assert len(varied.cells()) == len(varied.seeds)
    typed = ["triangle(width=2,height=1/3)", "triangle(height=1/3, width=2e0, centre=0)", "triangle(width=2)"]
    assert grid("mlp-digits").varied(rules=typed).blocks[0].rules == (
        "triangle(height=1/3, width=2)",
        "triangle(width=2)",
    )


def test_what_a_rule_means_is_not_changed_by_its_spelling():
    for typed in ("tied(slope=0.3)", "triangle(width=1/3)", "fast_sigmoid(steepness=1e-30)", "triangle(height=0.125)"):
        (rule,) = grid("mlp-digits").varied(forwards=["leaky_relu"], rules=[typed]).blocks[0].rules
        assert surrogate(rule, "leaky_relu").formula == surrogate(typed, "leaky_relu").formula


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.name)
def test_no_rule_of_a_grid_stands_there_twice(each):
    for block in each.blocks:
        assert len(each.varied(rules=block.rules).blocks[0].rules) == len(block.rules)


def test_tied_and_forwards_have_one_spelling():
    varied = grid("mlp-digits").varied(rules=["Tied"], forwards=["Sigmoid"])
    assert {(cell.rule, cell.forward) for cell in varied.cells()} == {("tied", "logistic")}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rules": ["trinagle"]}, "triangle"),
        ({"forwards": ["logistik"]}, "logistic"),
        ({"learning_rates": [0.0]}, "--learning-rate 0.0"),
        ({"learning_rates": [float("nan")]}, "--learning-rate nan"),
        ({"learning_rates": [float("inf")]}, "--learning-rate inf"),
        ({"batches": [0]}, "--batch 0"),
        ({"epochs": -1}, "--epochs -1"),
        ({"seeds": 0}, "--seeds 0"),
        ({"forwards": ["leaky_relu(slope=0.3)"]}, "default parameters; leave the brackets"),
        ({"stages": "0,half"}, "'half' is no epoch"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given, said):
    with pytest.raises(Refused, match=said):
        grid("mlp-digits").varied(**given)


def test_an_unknown_grid_is_answered_with_near_ones():
    with pytest.raises(Refused, match="did you mean 'mlp-digits'"):
        grid("mlp-digit")


def test_stages_are_numbers_middle_and_end():
    assert stages_of("0,1, middle,end,1") == ("0", "1", "middle", "end")
    assert stages_of("") == ()


def test_a_block_is_the_whole_product():
    block = Block(("a", "b"), ("f",), ("r", "s"), (0.1, 0.2), (1, 2, 3), epochs=4, data=("", "d"))
    assert len(set(block.cells((0, 1)))) == 2 * 1 * 2 * 2 * 3 * 2 * 2


def test_the_key_of_a_job_depends_on_all_of_it():
    job = jobs(grid("mlp-digits").quick())[0]
    others = [
        replace(job, cells=job.cells[:1]),
        replace(job, cells=(replace(job.cells[0], seed=9), *job.cells[1:])),
        replace(job, stages=("0",)),
        replace(job, device="cuda"),
        replace(job, task="maximise"),
        replace(job, cells=job.cells[::-1]),
    ]
    assert len({job.key, *(each.key for each in others)}) == 1 + len(others)
    assert Job("train", job.cells).key == job.key


def test_measuring_leaves_the_groups_as_they_are():
    plain, measured = (jobs(grid("mlp-digits").varied(stages=stages)) for stages in ("", "0,end"))
    assert [job.cells for job in plain] == [job.cells for job in measured]
