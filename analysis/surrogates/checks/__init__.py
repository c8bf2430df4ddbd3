"""The conformance checks: named properties of a surrogate, searched for counterexamples, told in one sentence each."""

from .run import CHECKS as CHECKS
from .run import check_surrogate as check_surrogate
from .run import parametrize_with_checks as parametrize_with_checks
