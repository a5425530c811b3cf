"""What the use cases need of the outside world, as small protocols; `adapters` implement them.

A tenant's data is only reached through methods that take `tenant_id` first.
"""
