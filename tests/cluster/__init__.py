"""Tests of brokers that share stores."""
