"""The team's documents: charter, contract, OWNERS and decision record, the seals, and the files made from them."""
