"""The outside world behind the ports: stores, the cluster, models. Only `context.py` imports from here."""
