"""Builds complete manifests from typed inputs: pure functions, no client, no clock, no chance.

The same input always gives the same manifest, byte for byte. No list or mapping that the API server would drop is
written, and quantities are in its own notation: what was applied must be found again as it was.
"""
