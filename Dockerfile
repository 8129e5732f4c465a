# Build: a wheel with the hot modules compiled, and the wheels of its dependencies.
FROM python:3.13 AS build
WORKDIR /src
COPY . .
RUN LEVERET_COMPILE=1 pip wheel --no-cache-dir --wheel-dir /wheels '.[postgres]'

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels 'leveret[postgres]' \
    && ln -s leveret /usr/local/bin/rabbitmqctl \
    && ln -s leveret /usr/local/bin/rabbitmq-diagnostics \
    && useradd --system --uid 5672 --home-dir /var/lib/leveret --shell /usr/sbin/nologin leveret \
    && install --directory --owner leveret --group leveret --mode 0750 /var/lib/leveret
# Clients are outside the container: listen on all addresses, and let guest log in from anywhere, as RabbitMQ's image does.
ENV LEVERET_AMQP_LISTEN=:5672 \
    LEVERET_MANAGEMENT_LISTEN=:15672 \
    LEVERET_METRICS_LISTEN=:15692 \
    LEVERET_AUTH_LOOPBACK_USERS= \
    LEVERET_STORAGE_DATA_DIR=/var/lib/leveret
USER leveret
WORKDIR /var/lib/leveret
VOLUME /var/lib/leveret
EXPOSE 5672 15672 15692
HEALTHCHECK --interval=30s --timeout=10s --start-period=5s CMD ["leveret", "ping"]
ENTRYPOINT ["leveret"]
CMD ["serve"]
