"""The report: one HTML page that says what was asked, what was found and how to find it again."""
