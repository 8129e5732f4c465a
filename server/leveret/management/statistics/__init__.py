"""Statistics: samples of the counters, and what is made of them."""
