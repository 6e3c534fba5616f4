# Prometheus from Debian, without the scripts of its web pages.
FROM scratch AS root
ADD root.tar /
FROM scratch
COPY --from=root /lib /lib
COPY --from=root /lib64 /lib64
COPY --from=root /usr/bin/prometheus /usr/bin/prometheus
USER 65532:65532
ENTRYPOINT ["/usr/bin/prometheus"]
