"""What is done with a data directory: opened by a broker, salvaged, read and shown without one."""
