"""What figures have in common beyond their look: uncertainty, and labels beside what they name."""
