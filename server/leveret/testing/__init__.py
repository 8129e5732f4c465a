"""Tests of applications: a broker in a thread or a process, and what is asked of it."""
