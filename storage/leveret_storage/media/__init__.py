"""The media that a store can lie on, and the threads that wait for them."""
