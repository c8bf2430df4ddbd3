"""What a surrogate is: activations and surrogates as formulas, the catalogue, adapters, checks."""
