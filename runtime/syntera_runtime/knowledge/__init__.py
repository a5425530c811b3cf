"""Use cases of knowledge: searching it, and what people do with documents and syncs."""
