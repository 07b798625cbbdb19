"""Prefect: one thin flow per command, the schedules and the worker. No other room imports Prefect."""
