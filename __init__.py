"""downslope: does a surrogate gradient still point downslope?"""

from .analysis.surrogates.activation import Activation as Activation
from .analysis.surrogates.activations import ACTIVATIONS as ACTIVATIONS
from .analysis.surrogates.catalogue import SURROGATES as SURROGATES
from .analysis.surrogates.surrogate import Surrogate as Surrogate
from .analysis.surrogates.symbols import u as u
from .proofs.chapters import CLAIMS as CLAIMS
from .proofs.claim import Claim as Claim
from .proofs.verify import verify as verify

__version__ = "0.1.0"
