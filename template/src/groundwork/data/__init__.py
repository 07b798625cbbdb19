"""Data from the source to the snapshots: ingest, rules, quarantine, erasure."""
