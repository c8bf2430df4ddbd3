"""One SymPy expression, and all that is derived from it: values, sign, profile, moments."""
