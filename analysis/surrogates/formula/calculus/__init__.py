"""The real line, exactly: cells between break points, roots, certified ranges, tails."""
