"""What a grid says: means with intervals, paired tests, and the sentences that they support."""
