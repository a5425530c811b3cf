"""Benchmarks: figures of the whole system beside a reference in the same run, never a timed test. `make bench` runs them.

No test imports this package, and pytest collects nothing from it.
"""
