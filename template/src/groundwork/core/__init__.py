"""What every room stands on: settings, errors, windows of time, progress, git and locks."""
