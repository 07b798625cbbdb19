"""The model's versions, and the promotion of one to champion."""
