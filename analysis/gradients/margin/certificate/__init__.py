"""<g, g~> over every replacement in a box, several layers at once: certified from below, attacked from above."""
