"""The system that accepts a model: pipeline, registry, service and monitoring around the code in `use_case`."""

__version__ = "0.1.0"
