"""What every room uses: nothing in here knows of a pilot."""
