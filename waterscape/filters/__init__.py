"""What decides whether a collected photo is kept: filters, each with a score and a reason, one after the other."""
