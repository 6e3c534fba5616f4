"""A real Kubernetes on this machine, for tests: `python -m e2e.cluster up`, `down`, `load IMAGE.tar`.

The control plane (etcd, kube-apiserver, kube-controller-manager, kube-scheduler) runs on a bridge of its own.
Each node runs in namespaces of its own (network, mounts, processes), so that everything a node makes,
interfaces and iptables chains, mounts, container processes, ends with the node's first process.

It never listens beyond its own bridge and loopback, never routes to the outside, and leaves nothing behind:
`down` ends the processes that `up` wrote down, by pid and start time, and takes away what `layout` names.

Start reading at `up`; `layout` has every address and path.
"""
