"""What the runtime speaks of: principals, conversations, turns, messages, and the exchange with a model.

Plain frozen data. Nothing here knows HTTP, SQL or a vendor; borders turn these into their own shapes.
"""
