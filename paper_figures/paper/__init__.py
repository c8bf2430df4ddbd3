"""What a paper asks for: the venues' widths, and LaTeX to include."""
