"""The tenants' stores: what each tenant holds in PostgreSQL and Redis, and the schema that PostgreSQL has to have.

`TenantStores` is what the operator works with. This package knows nothing of Kubernetes. It imports nothing here, so that
`python -m syntera_operator.stores.migrate` loads only what migrations need.
"""
