"""Shows many pilots on one page, from their git repositories and from what their services publish.

It needs neither a pilot's environment nor its code: what it shows was committed, or was answered over HTTP.
"""
