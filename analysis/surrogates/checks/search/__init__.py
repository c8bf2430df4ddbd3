"""How counterexamples are looked for: where, against what, and down to which."""
