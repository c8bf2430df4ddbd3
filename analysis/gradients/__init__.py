"""What a surrogate does to a gradient: untie a model, deviation of two gradients, measurement."""
