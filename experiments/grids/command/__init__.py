"""``downslope grid``: its options, what it says before, during and after."""
