"""The system that accepts a model: pipeline, registry, service and monitoring around the code in `use_case`."""

from groundwork.core import environment

__version__ = "0.3.0.dev0"

environment.silence()  # whatever process this is, its libraries are imported after this package
