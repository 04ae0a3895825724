"""Where samples come from: exports on disk, services on the web, and a synthetic world."""
