"""Grids of training runs: forward x backward x learning rate x batch size x seed, resumable, on one machine or many."""
