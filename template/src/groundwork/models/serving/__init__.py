"""The bundle and the predictor: the parts of a model that the service needs."""
