"""The bundle and the predictor: all that the service needs of a model."""
