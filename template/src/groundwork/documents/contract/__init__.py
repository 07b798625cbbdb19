"""The data contract: columns, rules, and the comparison with the last released version."""
