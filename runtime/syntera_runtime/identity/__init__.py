"""Who asks: keys, tokens of issuers, tokens of visitors, and what becomes of them. It decides nothing about operations."""
