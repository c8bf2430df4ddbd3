"""One gradient a sample, compared without being formed: what the mean over a batch hides."""
