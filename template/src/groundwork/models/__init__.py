"""Everything about models: made, judged, kept, served."""
