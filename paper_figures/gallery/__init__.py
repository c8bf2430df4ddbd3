"""One file a figure: ``draw(table)`` returns a matplotlib Figure; its docstring's first paragraph is the caption."""
