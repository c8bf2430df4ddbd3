"""A user's own model, weights, batches and loss, as the command line takes them, and their measurement."""

from .fitting import LOSSES as LOSSES
from .fitting import first as first
from .fitting import loss as loss
from .fitting import tried as tried
from .loading import batches as batches
from .loading import model as model
from .measuring import Typed as Typed
from .measuring import What as What
from .measuring import run as run
