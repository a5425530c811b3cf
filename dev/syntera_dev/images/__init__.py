"""Container images for the development cluster, built without a container engine and kept in the cache by content."""
