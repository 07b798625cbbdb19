"""Evaluation of a version: performance, feature importance, calibration and ageing."""
