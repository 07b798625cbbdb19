"""Used by all rooms: settings, errors, time windows, files, pages, progress, git and locks."""
