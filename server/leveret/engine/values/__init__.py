"""Values that the engine works with; they import nothing else of it."""
