"""What Prometheus scrapes: metrics with RabbitMQ's names, and Leveret's own."""
