"""The lessons as programs of 2016 have them, for pika 0.12; see launch.py."""
