# The media relay in user space: no kernel module, and no privilege.
FROM debian:trixie-20260202-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends rtpengine-daemon python3-minimal \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 strowger \
 && useradd --uid 10001 --gid strowger --no-create-home --shell /usr/sbin/nologin strowger
COPY docker/ping-rtpengine /usr/local/bin/
USER strowger
ENTRYPOINT ["rtpengine", "--config-file=none", "--table=-1", "--foreground", "--log-stderr", "--num-threads=2"]
