"""What is watched once the model serves."""
