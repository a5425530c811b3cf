"""Where documents come from, a kind of source per module."""
