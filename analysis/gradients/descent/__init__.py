"""Whether the step descends: the loss along each gradient, and the bound of smoothness on the step size."""
