"""What the verbs of the storage contract do inside a transaction: the rules across rows, once for all databases."""
