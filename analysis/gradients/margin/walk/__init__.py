"""One walk through a model: what is taken in, where its activations are, what depends on what."""
