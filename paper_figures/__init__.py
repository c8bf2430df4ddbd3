"""The figures of a paper and the report: they read stored tables and draw what was said against what was measured."""
