"""Closed forms beside draws: random surrogates, and the mean-field prediction of wide networks."""
