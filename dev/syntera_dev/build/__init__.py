"""Binaries that no package provides, compiled from Go modules that are pinned under `dev/go` and kept in the cache."""

from .binaries import BINARIES, Binary, ensure_binaries, ensure_binary

__all__ = ["BINARIES", "Binary", "ensure_binaries", "ensure_binary"]
