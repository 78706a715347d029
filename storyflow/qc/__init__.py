"""Looking at what was rendered."""
