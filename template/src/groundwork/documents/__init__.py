"""The team's documents: charter, contract and OWNERS, how they are sealed, and what is published from them."""
