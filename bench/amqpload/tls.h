/* The octets of a connection, in TLS or plain.
 *
 * send and receive are send(2) and recv(2): a call that would block returns -1 with EAGAIN. Without
 * AMQPLOAD_TLS the program is built without OpenSSL, and has no TLS.
 */
#ifndef AMQPLOAD_TLS_H
#define AMQPLOAD_TLS_H

#include <stddef.h>
#include <sys/types.h>

/* Shake hands on a connected, blocking socket, without a check of the certificate: the broker is on this machine. */
void tls_begin(int socket);

ssize_t octets_send(int socket, const void *from, size_t size);
ssize_t octets_receive(int socket, void *to, size_t size);

/* Whether there are decrypted octets, which epoll does not know of. */
int octets_pending(int socket);

#endif
