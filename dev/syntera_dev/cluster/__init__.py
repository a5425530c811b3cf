"""A real Kubernetes cluster for development and tests, from packages and compiled programs, without a container engine."""
