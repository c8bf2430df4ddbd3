"""The properties, grouped by what they are about; one short function each."""
