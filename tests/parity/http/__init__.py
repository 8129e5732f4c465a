"""What the HTTP API answers, compared with recordings of RabbitMQ's management plugin.

A section is a function that sends requests through a `Play`. Of each answer the recording has the
status, the headers that clients read, and the body: as it is if it says what is wrong, else its
shape, which is its keys and the types of their values. A replay sends the same requests to Leveret.
"""
