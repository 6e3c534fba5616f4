# nginx from Debian, as a target that counts: one line per request in /log/requests.
FROM scratch
ADD root.tar /
COPY nginx.conf /etc/nginx/nginx.conf
USER 65532:65532
ENTRYPOINT ["/usr/sbin/nginx", "-c", "/etc/nginx/nginx.conf"]
