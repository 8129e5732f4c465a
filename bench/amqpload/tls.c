/* TLS by OpenSSL, a session for each socket. A socket belongs to one thread at a time. */
#include "tls.h"

#include <errno.h>
#include <sys/socket.h>

#include "wire.h"

#ifdef AMQPLOAD_TLS

#include <limits.h>
#include <openssl/ssl.h>

#define SOCKETS_MAX 65536

static SSL *sessions[SOCKETS_MAX];

void tls_begin(int socket) {
    static SSL_CTX *context;
    if (!context) {
        context = must(SSL_CTX_new(TLS_client_method()));
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    SSL *session = must(SSL_new(context));
    errno = 0;
    if (socket >= SOCKETS_MAX || SSL_set_fd(session, socket) != 1 || SSL_connect(session) != 1)
        fail("the TLS handshake");
    sessions[socket] = session;
}

static ssize_t result(SSL *session, int count) {
    if (count > 0)
        return count;
    int error = SSL_get_error(session, count);
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        errno = EAGAIN;
    return -1;
}

static int at_most(size_t size) {
    return size > INT_MAX ? INT_MAX : (int)size;
}

ssize_t octets_send(int socket, const void *from, size_t size) {
    SSL *session = sessions[socket];
    if (!session)
        return send(socket, from, size, MSG_NOSIGNAL);
    return result(session, SSL_write(session, from, at_most(size)));
}

ssize_t octets_receive(int socket, void *to, size_t size) {
    SSL *session = sessions[socket];
    if (!session)
        return recv(socket, to, size, 0);
    return result(session, SSL_read(session, to, at_most(size)));
}

int octets_pending(int socket) {
    return sessions[socket] && SSL_pending(sessions[socket]) > 0;
}

#else

void tls_begin(int socket) {
    (void)socket;
    errno = 0;
    fail("built without TLS");
}

ssize_t octets_send(int socket, const void *from, size_t size) {
    return send(socket, from, size, MSG_NOSIGNAL);
}

ssize_t octets_receive(int socket, void *to, size_t size) {
    return recv(socket, to, size, 0);
}

int octets_pending(int socket) {
    (void)socket;
    return 0;
}

#endif
