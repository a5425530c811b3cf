"""What agents use: what it costs, how much of their budgets it is, and what is told of it."""
