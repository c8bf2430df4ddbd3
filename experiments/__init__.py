"""Measurement: data, networks, training, and the studies that tabulate what surrogate gradients do in them."""
