"""downslope: does a surrogate gradient still point downslope?"""

from .analysis.gradients.closed.jamming import jamming as jamming
from .analysis.gradients.closed.meanfield import meanfield as meanfield
from .analysis.gradients.descent.along import along as along
from .analysis.gradients.descent.plane import slice_of as slice_of
from .analysis.gradients.deviation import deviation as deviation
from .analysis.gradients.margin.certificate.certificate import certify as certify
from .analysis.gradients.margin.descent import descent_margin as descent_margin
from .analysis.gradients.measurement import measure as measure
from .analysis.gradients.measuring.observing import Measuring as Measuring
from .analysis.gradients.untie import untie as untie
from .analysis.surrogates import strategies as strategies
from .analysis.surrogates.activation import Activation as Activation
from .analysis.surrogates.activations import ACTIVATIONS as ACTIVATIONS
from .analysis.surrogates.adapters import adapt as adapt
from .analysis.surrogates.adapters import adapt_factor as adapt_factor
from .analysis.surrogates.adapters import adapt_rule as adapt_rule
from .analysis.surrogates.catalogue import SURROGATES as SURROGATES
from .analysis.surrogates.checks import check_surrogate as check_surrogate
from .analysis.surrogates.checks import parametrize_with_checks as parametrize_with_checks
from .analysis.surrogates.surrogate import Surrogate as Surrogate
from .analysis.surrogates.symbols import u as u
from .proofs.chapters import CLAIMS as CLAIMS
from .proofs.claim import Claim as Claim
from .proofs.verify import verify as verify

__version__ = "0.1.0"
