"""OpenAI's protocol for the tenant's agents: an agent's name is a model's name. Here OpenAI's shapes win."""
