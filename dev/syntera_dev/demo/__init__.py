"""The whole of Syntera on a cluster, as `make demo` shows it and the end-to-end tests use it."""
