"""The two roads to a verdict: checked steps, and an adversary's search with exact replays."""
