"""A local page on which a person decides which photos of a ledger are kept."""
