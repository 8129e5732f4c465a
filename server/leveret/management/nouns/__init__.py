"""What the JSON of each noun has: a table of columns a file."""
