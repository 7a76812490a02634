# Sourced by the set-up scripts: messages, and Debian packages.

say() { echo "setup: $*"; }
die() {
    echo "setup: $*" >&2
    exit 1
}

# Installs Debian packages, as root or through sudo.
apt_install() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            die "missing system packages: $*. Run as root: apt-get install $*"
        as_root=(sudo)
    fi
    command -v apt-get >/dev/null ||
        die "missing system packages: $*. Install them with this system's package manager."
    say "installing system packages: $*"
    local log
    log=$(mktemp)
    if ! {
        "${as_root[@]}" apt-get -q update &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
                apt-get -q install -y --no-install-recommends "$@"
    } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "apt-get could not install: $*"
    fi
    rm -f "$log"
}
