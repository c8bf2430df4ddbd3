"""Random factors and random inputs: what holds in expectation."""
