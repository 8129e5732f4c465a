"""AMQP 0-9-1 as octets: frames, methods, the protocol header, and SASL responses."""
