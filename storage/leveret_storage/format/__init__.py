"""The format of the data (FORMAT.md): encoders and decoders, side by side."""
