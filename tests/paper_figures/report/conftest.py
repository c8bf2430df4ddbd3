"""A page made of synthetic tables: its figures take seconds, so they are drawn once."""

import pytest
from downslope.analysis.gradients import table as measurement
from downslope.analysis.surrogates.checks.present import Checked
from downslope.analysis.surrogates.checks.record import Outcome, Record
from downslope.paper_figures.report import page, pictures, writing
from downslope.paper_figures.report.catalogue import conformance

CHECKED = (
    Checked("constant", [Record("finite", Outcome.PASSED), Record("matches-primitive", Outcome.SKIPPED, "none")], {}),
    Checked(
        "swish_sign",
        [
            Record("sign-preserving", Outcome.EXPECTED, "the wrong sign at 0.5", {"u": 0.5, "python": "print(1)"}),
            Record("symmetric", Outcome.NOTE, "not even about <0>"),
        ],
        {},
    ),
)


@pytest.fixture(scope="session")
def contents(few, curves):
    """A page's contents from synthetic tables: one network, three surrogates, three claims, two surrogates checked."""
    claims = [
        {
            "id": name,
            "title": title,
            "source": "Troiano et al. 2025",
            "verdict": verdict,
            "expected": verdict,
            "scope": {"depth": 1},
            "witness": {"shows": "one weight", "values": {"g": "1/2"}},
            "seconds": seconds,
        }
        for name, title, verdict, seconds in (
            ("batch-mixing", "A batch mixes <signs>", "REFUTED", 0.25),
            ("kantorovich", "The cosine's bound", "PROVED", 2.0),
            ("zero-sets", "Zeros", "REFUTED", 10.5),
        )
    ]
    checks = conformance.table(CHECKED)
    measured = few[few["network"] == "mlp-digits"].reset_index(drop=True)
    tables = {
        "deviations": measured,
        "curves": curves,
        "claims": writing.claims_table(claims),
        "checks": checks,
    }
    made = {**measurement.provenance(seed=0), "command": "downslope report --quick", "plan": {"epochs": 20, "draws": 1}}
    return page.Contents(tables, claims, pictures.pictures(tables, quick={"deviations": "3 seeds."}), made, "3 seeds.")


@pytest.fixture(scope="session")
def rendered(contents):
    return page.render(contents, version="1.2.3")


@pytest.fixture(scope="session")
def written(rendered, tmp_path_factory):
    """The page as a file."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(rendered, encoding="utf-8")
    return path
