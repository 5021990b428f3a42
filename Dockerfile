# The gateway as an image: what requirements.lock names, by its hashes, and a wheel of this checkout.
FROM python:3.13.15-slim-trixie AS python-base


# The page's chart, which comes from npm.
FROM node:22.21.1-bookworm-slim AS chart

WORKDIR /web
COPY web/package.json web/package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund && npm run vendor


FROM python-base AS builder

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# Wheels only: nothing is compiled, so there is no compiler to remove again.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv --without-pip /opt/market-gateway \
    && python -m pip --python /opt/market-gateway/bin/python install --only-binary :all: --require-hashes -r requirements.lock \
    && python -m pip install --only-binary :all: --require-hashes -r requirements-build.lock

COPY pyproject.toml README.md LICENSE ./
COPY exchanges exchanges
COPY topics topics
COPY gateway gateway
COPY web web
COPY --from=chart /web/vendor web/vendor
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && python -m pip --python /opt/market-gateway/bin/python install --no-deps --no-index dist/*.whl


FROM python-base

LABEL org.opencontainers.image.title="market-gateway" \
    org.opencontainers.image.description="A self-hosted realtime websocket fan-out gateway for crypto market data." \
    org.opencontainers.image.version="0.3.0" \
    org.opencontainers.image.licenses="MIT"

# A number, so that an orchestrator can see that it is not root.
RUN groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gateway \
    && install --directory --owner gateway --group gateway /var/cache/market-gateway
COPY --from=builder /opt/market-gateway /opt/market-gateway

# A container's loopback is reached by nobody, so it listens on all of its addresses: who publishes the port decides
# who may come.
ENV PATH=/opt/market-gateway/bin:$PATH \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_PORT=8787 \
    GATEWAY_AUTH__ALLOW_ANONYMOUS=true \
    GATEWAY_CACHE_DIR=/var/cache/market-gateway \
    GATEWAY_LOG_FORMAT=json

USER 10001:10001
WORKDIR /opt/market-gateway
EXPOSE 8787

# http.client, since urllib would ask the proxy that HTTP_PROXY names.
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; door = http.client.HTTPConnection('127.0.0.1', int(os.environ['GATEWAY_PORT']), timeout=2); door.request('GET', '/healthz'); sys.exit(door.getresponse().status != 200)"]

# Clients get close code 1012, what Redis lacks is written; it takes seconds at the most.
STOPSIGNAL SIGTERM
ENTRYPOINT ["market-gateway"]
CMD ["serve"]
