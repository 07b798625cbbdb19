"""Batch scoring: the champion's predictions for a window."""
