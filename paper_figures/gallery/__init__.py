"""The figures, one file each, in folders by what they show; a new file is found by being there."""
