"""Finding what a medium holds: at a start, after damage, or to look at it."""
