"""How unequal positive factors on an activation may be before the step stops descending: margins and certificates."""
