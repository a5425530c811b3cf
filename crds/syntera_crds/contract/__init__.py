"""What the operator hands to a tenant's runtime: names, published configuration, API keys, internal API models."""
