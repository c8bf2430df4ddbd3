"""What a formula does along the real line: how it grows, where it is largest, what it integrates to, its symmetry."""
