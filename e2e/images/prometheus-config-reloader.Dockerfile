# One static program, at the place where prometheus-operator looks for it.
FROM scratch
COPY program /bin/prometheus-config-reloader
USER 65532:65532
ENTRYPOINT ["/bin/prometheus-config-reloader"]
