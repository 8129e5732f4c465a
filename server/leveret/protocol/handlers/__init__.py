"""What each channel method does: one file an AMQP class; `dispatch.py` has the table of all."""
