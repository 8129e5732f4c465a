"""What a broker does, without sockets and frames: exchanges, queues, consumers, messages."""
