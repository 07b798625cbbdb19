"""Your use case: where the data comes from, what predicts, and what is done with a prediction."""
