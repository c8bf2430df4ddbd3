"""Numbers of any precision, one at a time and slow: they decide what wide numbers cannot tell."""
