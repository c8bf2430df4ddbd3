"""The room that names things and measures them: surrogates, and what they do to a gradient."""
