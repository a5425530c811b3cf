"""The entry of sync Jobs: brings a knowledge base in step with its sources (`python -m syntera_runtime.ingest`)."""
