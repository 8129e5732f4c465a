"""What operators change, whichever interface they use: checked, applied, and logged."""
