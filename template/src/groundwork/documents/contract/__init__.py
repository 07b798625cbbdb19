"""The data contract: columns, rules, and how it may change."""
