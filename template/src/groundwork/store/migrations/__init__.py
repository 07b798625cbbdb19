"""What Alembic reads: `env.py`, and one module for each version of the schema in `versions/`."""
