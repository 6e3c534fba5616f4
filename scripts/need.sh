#!/usr/bin/env bash
# Sees that the machine has what the named purposes need: `scripts/need.sh rust python bench`.
# What Debian packages is installed when it is missing and we may (root); anything else, anywhere else, is named
# together with how to get it, and the script fails.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()

# package NAME: install a Debian package; fails where that cannot be done.
package() {
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
    echo "installing the Debian package $1" >&2
    [ -n "${updated:-}" ] || apt-get update -qq >&2
    updated=yes
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null </dev/null
}

# have COMMAND PACKAGE: the command is there, if need be from the Debian package.
have() {
    command -v "$1" >/dev/null || package "$2" || missing+=("$1: install it (on Debian and Ubuntu: apt install $2)")
}

need_rust() {
    have cc build-essential
    if ! command -v cargo >/dev/null; then
        missing+=("cargo: Rust 1.89 or newer, from https://rustup.rs")
        return
    fi
    local version
    version=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' 1.89.0 "$version" | sort -V | head -1)" = 1.89.0 ] ||
        missing+=("Rust 1.89 or newer: this is $version; run \`rustup update\`")
}

need_lints() {
    need_rust
    local tool
    for tool in fmt clippy; do
        ! command -v cargo >/dev/null || cargo "$tool" --version >/dev/null 2>&1 ||
            missing+=("cargo $tool: run \`rustup component add rustfmt clippy\`")
    done
}

need_python() {
    [ -n "$(scripts/pythons.sh)" ] && return
    package python3-venv || true
    [ -n "$(scripts/pythons.sh)" ] ||
        missing+=("CPython 3.11 or newer with its venv module (on Debian 12 and Ubuntu: apt install python3-venv)")
}

# The servers that the examples load, and the tests start.
need_servers() {
    have redis-server redis-server
    local server
    for server in mosquitto nginx; do
        command -v "$server" >/dev/null || [ -x "/usr/sbin/$server" ] || package "$server" ||
            missing+=("$server: install it (on Debian and Ubuntu: apt install $server)")
    done
    compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || command -v initdb >/dev/null || package postgresql ||
        missing+=("PostgreSQL: install it (on Debian and Ubuntu: apt install postgresql)")
}

# What `make cluster` starts from Debian, and what builds the rest (e2e/cluster/go).
need_cluster() {
    if ! command -v go >/dev/null; then
        missing+=("go: Go 1.25 or newer, from https://go.dev/dl")
    fi
    have cc build-essential
    have openssl openssl
    have etcd etcd-server
    have containerd containerd
    have runc runc
    have iptables iptables
    have conntrack conntrack
    have ip iproute2
    have unshare util-linux
    [ -x /usr/lib/cni/ptp ] || [ -x /opt/cni/bin/ptp ] || package containernetworking-plugins ||
        missing+=("the plugins of CNI (on Debian and Ubuntu: apt install containernetworking-plugins)")
}

# What builds images where no container engine runs, and the operator without a C library.
need_images() {
    need_rust
    have buildah buildah
    have mmdebstrap mmdebstrap
    have musl-gcc musl-tools
    local target=x86_64-unknown-linux-musl
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || rustup target add "$target" >&2 ||
        missing+=("Rust's target $target: run \`rustup target add $target\`")
}

# What the benchmark starts. wrk, perf, and Go, which builds k6: what is missing is named in the result, and fails it.
need_bench() {
    have taskset util-linux
    have openssl openssl
    have addr2line binutils
    command -v wrk >/dev/null || package wrk || true
    command -v perf >/dev/null || package linux-perf || true
}

for purpose in "$@"; do
    "need_$purpose"
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "This machine lacks:" >&2
    printf '  - %s\n' "${missing[@]}" >&2
    exit 1
fi
