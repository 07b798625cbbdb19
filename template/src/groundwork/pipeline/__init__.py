"""Prefect: one thin flow per verb, schedules and the worker. No other room imports Prefect."""
