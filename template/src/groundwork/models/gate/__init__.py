"""The gate between a candidate and service."""
