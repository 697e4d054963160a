# The CPythons that fastser is built for and tested with, and how to run something with each. Sourced, after common.sh.

# The versions that pyproject.toml names.
supported=$(grep -o 'Python :: 3\.[0-9]*' "$root/pyproject.toml" | grep -o '3\..*')

declare -A path_of # by version; those in the Debian folder are names, not paths
debian=$work/debian
missing=() # "VERSION: why"

# is_usable PATH VERSION: a CPython of that version, with the lock, that can make environments and build extensions.
is_usable() {
    "$1" - "$2" 2>/dev/null <<'PY'
import ensurepip, os, sys, sysconfig, venv
version = "%d.%d" % sys.version_info[:2]
headers = os.path.join(sysconfig.get_path("include"), "Python.h")
sys.exit(not (sys.implementation.name == "cpython" and version == sys.argv[1] and os.path.exists(headers)
              and not sysconfig.get_config_var("Py_GIL_DISABLED")))
PY
}

# candidates VERSION: where it may be on this machine: pyenv's, those on PATH, uv's.
candidates() {
    local pyenv=${PYENV_ROOT:-$(pyenv root 2>/dev/null || true)}
    ls -rvd "${pyenv:-$HOME/.pyenv}/versions/$1".*/bin/python 2>/dev/null || true
    type -ap "python$1" || true
    uv python find --no-python-downloads "$1" 2>/dev/null || true
}

# find_pythons VERSION...: fills path_of and missing. Ends the script, well, where there is none: that is no fault of the project.
find_pythons() {
    local version path absent=()
    for version; do
        while read -r path; do
            if is_usable "$path" "$version"; then path_of[$version]=$path; break; fi
        done < <(candidates "$version")
        [ -n "${path_of[$version]}" ] || absent+=("$version")
    done
    [ ${#absent[@]} = 0 ] || find_in_debian "${absent[@]}"
    [ ${#path_of[@]} -gt 0 ] || { say_missing; exit 0; }
}

say_missing() {
    local reason
    for reason in "${missing[@]}"; do say "not tried: Python $reason"; done
}

# find_in_debian VERSION...: the same, from packages of Debian's newest suite in a folder of their own.
find_in_debian() {
    local version why=
    say "making a folder of Debian's newest suite for Python $*"
    make_debian >"$work/log" 2>&1 || why=$(tail -n 1 "$work/log")
    for version; do
        if [ -n "$why" ]; then
            missing+=("$version: $why")
        elif in_debian apt-get install -qq -y --no-install-recommends \
            "python$version" "python$version-venv" "python$version-dev" "libpython$version-testsuite" >"$work/log" 2>&1; then
            path_of[$version]=python$version
        else
            missing+=("$version: Debian does not have it ($(grep '^E:' "$work/log" | tail -n 1))")
        fi
    done
}

# make_debian: fills the folder; the last line of its output says why it could not.
make_debian() (
    [ "$(id -u)" = 0 ] || { echo "not on this machine, and only root can make a folder of Debian's"; return 1; }
    command -v apt-get dpkg-deb unshare chroot >/dev/null || { echo "not on this machine, which is not a Debian"; return 1; }
    unshare --mount true || { echo "not on this machine, which lets nobody mount"; return 1; }
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/$') || true
    mkdir "$work/debootstrap"
    cd "$work/debootstrap" # nothing is installed on the machine for that
    apt-get download debootstrap || { apt-get update && apt-get download debootstrap; } ||
        { echo "not on this machine, and debootstrap cannot be downloaded"; return 1; }
    dpkg-deb -x debootstrap_*.deb . &&
        DEBOOTSTRAP_DIR=$PWD/usr/share/debootstrap usr/sbin/debootstrap --variant=minbase \
            --include=gcc,libc6-dev,ca-certificates,tzdata sid "$debian" "${mirror:-https://deb.debian.org/debian}" ||
        { echo "not on this machine, and debootstrap failed"; return 1; }
    # The same names, the same pip, and whom both trust.
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/xdg/pip/* "$HOME"/.config/pip/pip.conf "$HOME"/.pip/pip.conf \
        "$PIP_CONFIG_FILE" "$PIP_CERT" "$SSL_CERT_FILE" "$REQUESTS_CA_BUNDLE"; do
        [ ! -f "$file" ] || cp -L --parents "$file" "$debian"
    done
)

# in_debian COMMAND...: what it mounts is gone with it.
in_debian() {
    DEBIAN_FRONTEND=noninteractive unshare --mount --propagation private bash -ec '
        debian=$1; shift
        for folder in /proc /dev "$1"; do mkdir -p "$debian$folder"; mount --rbind "$folder" "$debian$folder"; done
        mkdir -p "$debian$HOME" "$debian${TMPDIR:-/tmp}"
        shift
        exec chroot "$debian" "$@"' in_debian "$debian" "$root" "$@"
}

# with_python VERSION SCRIPT ARGUMENT...: run one of the scripts of ci/ with that Python.
with_python() {
    local version=$1; shift
    local run=(env "PYTHON=${path_of[$version]}" bash "$@")
    if [[ ${path_of[$version]} == /* ]]; then "${run[@]}"; else in_debian "${run[@]}"; fi
}
