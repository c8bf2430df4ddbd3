"""Four arithmetics for one program of steps, each slower than the last and right where it is not.

`plain` floats and `paired` ones (whose roundings are kept, but not their range) serve where a check has shown that they
do; `wide` numbers bound their own error; `exact` ones decide the few entries where that bound is not good enough.
"""
