"""Whether and how well it descends: steps, margins, training, averaged draws."""
