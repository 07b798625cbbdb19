"""Your use case: the data source, the model, and the decision made from a prediction."""
