"""Files for people and other tools that are made from the documents."""
