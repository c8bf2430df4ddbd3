"""The referee: what must be true of surrogate gradients, as claims that are proved, refuted or bounded.

What a claim of one's own is made of stands here; `downslope.verify` decides it.
"""

from .claim import Claim as Claim
from .claim import Hypothesis as Hypothesis
from .claim import Scope as Scope
from .claim import Verdict as Verdict
from .claim import Witness as Witness
from .roads import steps as steps
from .roads.game import Comparison as Comparison
from .roads.game import Game as Game
from .roads.game import number as number
