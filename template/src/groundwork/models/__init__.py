"""Models, from training to the version that serves."""
