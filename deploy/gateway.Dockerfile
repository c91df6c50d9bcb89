# The gateway. Built from the top of the repository: docker build -f deploy/gateway.Dockerfile -t labhand/gateway .

# The same steps as in worker.Dockerfile, so that Docker does them once for both.
FROM node:24-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY apps apps
COPY libs libs
RUN npx tsc -p tsconfig.json

FROM node:24-bookworm-slim AS packages
WORKDIR /build
COPY package.json package-lock.json ./
# What is optional is the embedded Postgres of the quickstart.
RUN npm ci --omit=dev --omit=optional --no-audit --no-fund

FROM node:24-bookworm-slim
WORKDIR /opt/labhand
COPY --from=packages /build/package.json ./
COPY --from=packages /build/node_modules node_modules
COPY --from=build /build/dist/libs dist/libs
COPY --from=build /build/dist/apps/gateway dist/apps/gateway
# A volume that is mounted here for the first time takes the owner of the folder.
RUN install -d -o node -g node -m 0700 /var/lib/labhand /var/lib/labhand/blobs
USER node
ENV NODE_ENV=production \
    LABHAND_HOST=0.0.0.0 \
    LABHAND_PORT=8080 \
    LABHAND_BLOBS=file:/var/lib/labhand/blobs \
    LABHAND_ADMIN_KEY_FILE=/var/lib/labhand/admin-key
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.LABHAND_PORT}/health/ready`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# The start leaves a heap for young objects of 16 MiB three times over, which an idle gateway does not need.
CMD ["node", "--max-semi-space-size=4", "dist/apps/gateway/src/main.js"]
