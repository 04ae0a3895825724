"""Exports as tasks on Earth Engine's servers: a list on disk, started once, watched until they have ended."""
