"""Training: history, parameter search, fit, lineage and reproduction."""
