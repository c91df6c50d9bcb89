# The worker in a research image. Built from the top of the repository:
#
#   docker build -f deploy/worker.Dockerfile --build-arg BASE=my/research:1.0 -t my/worker .
#
# BASE is any image of a Linux with glibc; nothing needs to be installed in it.
ARG BASE=python:3.11-slim

# The same steps as in gateway.Dockerfile, so that Docker does them once for both.
FROM node:24-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY apps apps
COPY libs libs
RUN npx tsc -p tsconfig.json

FROM node:24-bookworm-slim AS bundle
RUN apt-get update \
 && apt-get install -y --no-install-recommends binutils gcc libc6-dev patchelf \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY --from=build /build .
COPY scripts/bundle-worker.mjs scripts/
COPY deploy/worker deploy/worker
RUN node apps/worker/launcher/build.mjs \
 && test -x dist/apps/worker/launcher/labhand-launcher \
 && node scripts/bundle-worker.mjs /opt/labhand

# The folder alone, for Dockerfiles of your own: COPY --from=labhand/worker-files /opt/labhand /opt/labhand
FROM scratch AS labhand
COPY --from=bundle /opt/labhand /opt/labhand
ENTRYPOINT ["/opt/labhand/worker"]

FROM ${BASE} AS worker
COPY --from=labhand /opt/labhand /opt/labhand
USER 0:0
# A user with a name, because programs ask for it, and a folder that is its own. Done by our Node: BASE may not even
# have a shell.
RUN ["/opt/labhand/node", "-e", "const fs = require('fs'), home = '/var/lib/labhand-worker'; fs.mkdirSync(home, { recursive: true, mode: 0o700 }); fs.chownSync(home, 10001, 10001); fs.mkdirSync('/etc', { recursive: true }); for (const [file, line] of [['/etc/passwd', `labhand:x:10001:10001::${home}:/sbin/nologin`], ['/etc/group', 'labhand:x:10001:']]) { const text = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : ''; if (!/^[^:]*:[^:]*:10001:/m.test(text)) fs.writeFileSync(file, `${text.replace(/[^\\n]$/, '$&\\n')}${line}\\n`); }"]
USER 10001:10001
ENV LABHAND_STATE_DIR=/var/lib/labhand-worker
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 \
  CMD ["/opt/labhand/worker", "health"]
ENTRYPOINT ["/opt/labhand/worker"]
CMD []
