"""Reads text out of documents in child processes that may do nothing but that, and may be killed at any moment.

`pool` is the way in; `worker` is the child. What parses (`reading` and the modules of formats) runs in the child alone: the parent
neither imports a parser nor believes what a child answers.
"""
