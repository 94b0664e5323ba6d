#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the servers that bench/compare.py measures beside skerry: valkey-server 8.0 (Debian 12 has it in backports only),
# redis-server, memcached; and the libraries that bench/embed/run.py measures. Debian only; needs root. The backports entry is derived from the apt sources that the system
# already has, so a local mirror stays a local mirror. Services that come with the packages are not started.
set -eu

[ "$(id -u)" = 0 ] || { echo "install-rivals.sh: needs root" >&2; exit 1; }
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ -n "$codename" ] || { echo "install-rivals.sh: no VERSION_CODENAME in /etc/os-release" >&2; exit 1; }
sources=/etc/apt/sources.list.d
backports=$codename-backports

# The first stanza (deb822) or line (one-line style) that carries the release itself, with the suite replaced.
derive_entry() {
    for file in "$sources"/*.sources; do
        [ -f "$file" ] || continue
        awk -v RS= -v suite="$codename" -v wanted="$backports" '
            {
                found = 0; out = ""; count = split($0, line, "\n")
                for (i = 1; i <= count; i++) {
                    if (line[i] ~ /^#/) continue
                    if (line[i] ~ /^Suites:/) {
                        words = split(line[i], word, /[ \t]+/)
                        for (w = 2; w <= words; w++) if (word[w] == suite) found = 1
                        line[i] = "Suites: " wanted
                    }
                    out = out line[i] "\n"
                }
                if (found) { printf "%s", out; exit }
            }' "$file" >"$work"
        [ -s "$work" ] && { cp "$work" "$sources/$backports.sources"; return 0; }
    done
    for file in /etc/apt/sources.list "$sources"/*.list; do
        [ -f "$file" ] || continue
        sed -n "s/^\(deb .*[[:space:]]\)$codename\([[:space:]]\)/\1$backports\2/p" "$file" | head -n 1 >"$work"
        [ -s "$work" ] && { cp "$work" "$sources/$backports.list"; return 0; }
    done
    echo "install-rivals.sh: no apt source for $codename found" >&2
    return 1
}

work=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=no
cleanup() {
    rm -f "$work"
    [ "$made_policy" = no ] || rm -f "$policy"
}
trap cleanup EXIT

# Exit status 101 tells package scripts not to start services.
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=yes
fi

if ! apt-cache madison valkey-server 2>/dev/null | grep -q .; then
    derive_entry
    apt-get update
fi
new=""
for package in valkey-server redis-server memcached; do
    dpkg -s "$package" >/dev/null 2>&1 || new="$new $package"
done
# Not the default release's suite: ask for backports only where that is the only origin.
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends valkey-server redis-server memcached libcuckoo-dev libtbb-dev libglib2.0-dev g++
# Only what this script brought is kept from starting at the next boot.
if command -v systemctl >/dev/null 2>&1; then
    for package in $new; do
        systemctl disable "$package" >/dev/null 2>&1 || true
    done
fi
valkey-server --version
redis-server --version
memcached --version
