"""What there is to say of one entry of the catalogue: as data, and in a terminal."""
