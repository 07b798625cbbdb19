"""What a version is worth, depends on and how it ages."""
