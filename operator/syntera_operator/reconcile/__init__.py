"""One function per kind that makes the cluster be as an object says: gather, build, apply, report.

Called whenever something may have changed, it looks at everything anew and writes only what differs. It imports neither
kopf nor a client: it talks through `cluster`, `stores` and `runtimes`.
"""
