"""A user's own model, weights, batches and loss, as the command line takes them, and their measurement."""

from .fitting import LOSSES as LOSSES
from .fitting import first as first
from .fitting import loss as loss
from .fitting import placed as placed
from .fitting import tried as tried
from .loading import batches as batches
from .loading import model as model
from .margins import Margins as Margins
from .margins import answer as answer
from .margins import of_model as of_model
from .margins import of_ours as of_ours
from .margins import of_users as of_users
from .measuring import Typed as Typed
from .measuring import What as What
from .measuring import run as run
from .options import check_measured as check_measured
from .options import check_setting as check_setting
from .options import mixed as mixed
