"""Speed: as ratios against the peer and the floating-point bound, side by side in one run."""
