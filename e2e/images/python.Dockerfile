# Stands in for docker.io/library/python where no registry can be reached: Debian, with its Python.
FROM scratch
ADD root.tar /
CMD ["/usr/bin/python3"]
