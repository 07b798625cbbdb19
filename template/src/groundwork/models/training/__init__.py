"""Fitting a model on the past, and from exactly what it was made."""
