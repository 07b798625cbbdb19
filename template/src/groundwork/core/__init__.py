"""What every room stands on: settings, errors, windows of time, files, progress, git and locks."""
