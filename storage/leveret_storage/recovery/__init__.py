"""Reading a medium: at a start, for a salvage, for an inspection."""
