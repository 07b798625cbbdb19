"""The champion's predictions for a whole window."""
