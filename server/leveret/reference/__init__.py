"""The tables of the documentation, made from those of the code."""
