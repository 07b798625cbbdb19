"""What a version relies on, how well it performs, and how it ages."""
