"""Alembic revisions, named `<number>_<what they do>.py`."""
