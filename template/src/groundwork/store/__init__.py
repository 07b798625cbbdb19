"""The operational store, one database: its schema and migrations, and one module per kind of record."""
