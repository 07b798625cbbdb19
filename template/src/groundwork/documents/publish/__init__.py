"""Files made from the documents, for people and for other tools."""
