"""The pipeline: one module per Prefect flow. Each flow is a thin layer over plain functions."""
