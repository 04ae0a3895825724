"""Head-to-head measurements: one file a row, each against a named peer and a physical limit."""
