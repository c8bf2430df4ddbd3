"""Hypothesis strategies for tests of one's own: inputs that hurt, formulas whose sign is known, small networks.

Public as ``downslope.strategies``. Hypothesis loads when a strategy is made, not with the package.
"""

from .formulas import formulas as formulas
from .formulas import surrogates as surrogates
from .networks import batches as batches
from .networks import networks as networks
from .tensors import LAYOUTS as LAYOUTS
from .tensors import Layout as Layout
from .tensors import dtypes as dtypes
from .tensors import layouts as layouts
from .tensors import numbers as numbers
from .tensors import preactivations as preactivations
from .tensors import shapes as shapes
from .tensors import upstream_gradients as upstream_gradients
