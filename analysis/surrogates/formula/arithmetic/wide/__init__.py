"""Numbers of 106 bits with an exponent of their own and a bound on their error."""
