"""The gate: decides whether a candidate may serve."""
