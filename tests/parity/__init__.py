"""Parity: the same scripts of raw methods against RabbitMQ 3.10.8 and Leveret, equal transcripts.

- sections/     the scenarios, one file a section of the protocol
- recordings/   what RabbitMQ answered; `python -m tests.parity.record` asks it again
- test_parity   plays every scenario against Leveret and compares with the recording
"""
