"""The scorecard: whether the pilot is ready to scale, what blocks it, and who fixes it."""
