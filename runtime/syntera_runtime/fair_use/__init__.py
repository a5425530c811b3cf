"""How much may be asked for: limits of requests, and of streams that are open at once."""
