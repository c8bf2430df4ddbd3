"""Anyone's surrogate, whatever shape its library gives it, as one noun: `Adapted`."""

from .adapt import adapt as adapt
from .adapt import adapt_factor as adapt_factor
from .adapt import adapt_rule as adapt_rule
from .adapted import Adapted as Adapted
