"""The pilot's image, really built and run."""
