"""One JSON object a line, on standard output."""

from pythonjsonlogger.core import RESERVED_ATTRS

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(levelname)s %(name)s %(message)s",
            "timestamp": "time",
            "rename_fields": {"levelname": "level", "name": "logger"},
            "reserved_attrs": [*RESERVED_ATTRS, "color_message"],  # uvicorn's lines once more, for a terminal
        }
    },
    "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
    "root": {"level": "INFO", "handlers": ["stdout"]},
    # Uvicorn's own lines in the same form; its access log would only repeat ours.
    "loggers": {
        "uvicorn": {"handlers": ["stdout"], "propagate": False},
        "uvicorn.access": {"handlers": [], "propagate": False},
    },
}
