"""The command line `syntera`: for people at a terminal, and for scripts.

It talks to the Kubernetes API with the user's own kubeconfig and to a tenant's API with one of its keys, like any other
client; it has no rights of its own and imports neither operator nor runtime.
"""
