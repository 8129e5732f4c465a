"""The media that a store can use, and the executors that wait for them."""
