"""The tables of the documentation, generated from the tables of the code.

This package only reads the code's tables. A test compares what it generates with the files.
"""
