"""The tenant's rows in PostgreSQL: a pool, and one repository per subject with its SQL."""
