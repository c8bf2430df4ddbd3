"""Linear maps on the autograd graph: which there are, what they were applied to, products of their gradients."""
