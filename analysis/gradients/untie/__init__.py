"""Untie a model: its forward keeps its bits, its activations get another backward."""

from .untied import untie as untie
