"""What has happened, in one database: the schema and its migrations, and one module per kind of record."""
