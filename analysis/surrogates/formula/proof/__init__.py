"""What sign a smooth expression has on an interval: proofs that are exact or certified, or no answer."""
