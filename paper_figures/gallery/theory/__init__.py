"""What the theory says: the catalogue, the claims, and closed forms against what was measured."""
