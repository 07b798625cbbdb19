"""Monitoring of the live model: drift, live performance and retraining."""
