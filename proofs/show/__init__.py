"""How results are shown: JSON for scripts, tables for readers, LaTeX for papers, a graph of what uses what."""
