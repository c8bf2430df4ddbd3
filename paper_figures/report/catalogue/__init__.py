"""What the page says of the catalogue: what each entry is, and how it stands the conformance checks."""
