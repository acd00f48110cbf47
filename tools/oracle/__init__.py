"""The clients that a generator makes from the protocol's documents, as oracles for our own."""
