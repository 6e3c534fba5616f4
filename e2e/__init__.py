"""End-to-end tests: the operator on a real Kubernetes, which `cluster` brings up where there is none."""
