"""Values of a formula: the steps, the arithmetics that carry them out, and the choice of the cheapest that is right."""
