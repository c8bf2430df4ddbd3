"""The referee: what must be true of surrogate gradients, as claims that are proved, refuted or bounded."""
