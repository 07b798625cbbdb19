#!/usr/bin/env bash
# A Docker engine for the container tests, on a machine that has none.
#
#   eval "$(tests/containers/engine.sh start)"     start it, point the docker client at it
#   tests/containers/engine.sh stop                end it, unless another test run still uses it
#
# An engine that already answers is used as it is: nothing is printed, nothing started, nothing stopped. Otherwise
# Debian's packages are unpacked (not installed) into a work folder outside the repository, and dockerd is started on a
# socket of its own. Images and build cache stay in that folder from one run to the next; `rm -rf` it to begin anew.
# Exit code 77 means: this machine cannot run an engine. The last line on stderr then says why.
# shellcheck disable=SC2016 # what is in single quotes is for others to expand
set -euo pipefail

work=${XDG_CACHE_HOME:-$HOME/.cache}/groundwork/docker
forwarding=$work/forward-policy # what dockerd changes in the machine's firewall, to be put back

cannot() { echo "no container engine: $*" >&2; exit 77; }
say() { echo "engine: $*" >&2; }
running() { # the pid of our dockerd; a stale pid file may name somebody else's process by now
    local pid
    pid=$(cat "$work/pid" 2>/dev/null) && grep -qzxF "$work/pid" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"
}

unpack() {
    local packages=() tool
    for tool in runc iptables ip mmdebstrap; do # of the machine's own Debian: they go by its kernel and libc
        command -v "$tool" >/dev/null || packages+=("${tool/%ip/iproute2}")
    done
    if [ ${#packages[@]} -gt 0 ]; then
        say "installing ${packages[*]}"
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends "${packages[@]}"; } >&2 ||
            cannot "apt-get could not install ${packages[*]}"
    fi
    [ -e "$work/engine/usr/bin/tini-static" ] && return # `init: true` runs it
    say "unpacking Debian's docker.io into $work"
    "$(dirname "$0")/packages.sh" "$work/engine" docker.io docker-cli docker-buildx containerd tini ||
        cannot "the engine's packages could not be fetched"
}

start() {
    docker version >/dev/null 2>&1 && return
    [ "$(id -u)" = 0 ] || cannot "starting one needs root"
    command -v apt-get >/dev/null || cannot "it is installed with apt-get, and this is no Debian"
    local caps # bits 12 and 21 are NET_ADMIN, for the bridge, and SYS_ADMIN, for mounts and namespaces
    caps=0x$(sed -n 's/^CapEff:\s*//p' /proc/self/status)
    (((caps >> 12 & 1) && (caps >> 21 & 1))) || cannot "this machine's root may not mount or make networks"

    mkdir -p "$work"
    exec 9>"$work/lock" && flock 9 # one at a time; the lock goes when the script does
    unpack
    launch
    printf 'export %s=%q\n' DOCKER_HOST "$DOCKER_HOST" DOCKER_CONFIG "$DOCKER_CONFIG" PATH "$PATH"
}

launch() {
    export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/config
    export PATH=$work/engine/usr/bin:$work/engine/usr/sbin:$PATH
    if ! running >/dev/null; then
        clean
        iptables -S FORWARD | grep '^-P' >"$forwarding"
        mkdir -p "$DOCKER_CONFIG/cli-plugins"
        ln -sf "$work/engine/usr/libexec/docker/cli-plugins/docker-buildx" "$DOCKER_CONFIG/cli-plugins/"
        setsid dockerd --host "$DOCKER_HOST" --pidfile "$work/pid" --data-root "$work/data" --exec-root "$work/exec" \
            >"$work/log" 2>&1 </dev/null 8>&- 9>&- &
    fi
    for _ in {1..300}; do
        docker version >/dev/null 2>&1 && return
        sleep 0.2
    done
    tail -n 20 "$work/log" >&2
    exit 1
}

stop() {
    [ -e "$forwarding" ] || return 0 # not started, or stopped in good order
    exec 9>"$work/lock" && flock 9
    exec 8>"$work/users" # every test run holds a shared lock on this file for as long as it uses the engine
    flock --nonblock 8 || { say "still in use, left running"; return; }
    launch # if it was killed, its containers live on, and it finds them again when it comes back
    docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
    docker volume prune --force --all >/dev/null
    docker image prune --force >/dev/null
    docker builder prune --force --keep-storage 5GB >/dev/null
    local pid
    pid=$(running) && kill "$pid"
    for _ in {1..150}; do
        running >/dev/null || { clean; return; }
        sleep 0.2
    done
    say "dockerd ($pid) does not end, see $work/log"
    exit 1
}

clean() { # what a dockerd leaves behind, most of it only after a kill -9
    local mount
    rm -f "$work/pid"
    awk -v at="$work/" 'index($2, at) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do umount --lazy "$mount"; done
    if [ -s "$forwarding" ]; then
        # shellcheck disable=SC2046 # the words of the rule, as `iptables -S` printed them
        iptables $(cat "$forwarding")
        ip link delete docker0 2>/dev/null || true
        rm "$forwarding"
    fi
}

case ${1-} in
start) start ;;
stop) stop ;;
*) sed -n '2,10s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
