"""A small Celery project, as its users have them: an application module that a worker loads."""
