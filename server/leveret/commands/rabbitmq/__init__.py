"""The commands of rabbitmqctl and rabbitmq-diagnostics, a file for each subject."""
