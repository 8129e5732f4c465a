"""The lessons as one writes them with the pika of today."""
