#!/usr/bin/env bash
# A Kubernetes cluster for the tests, on a machine that has none: a control plane and two nodes, on loopback alone.
#
#   tests/containers/cluster.sh build                  compile it of Debian's source (20 minutes on two cores, once)
#   eval "$(tests/containers/cluster.sh start)"        start it, point kubectl at it
#   tests/containers/cluster.sh load IMAGE NAME 1 2    let nodes have an image of the engine's, under a name
#   tests/containers/cluster.sh stop                   end it
#
# The newest Debian that has the source of the servers is bookworm, with Kubernetes 1.20. Packages are unpacked and not
# installed. Each node has a network of its own with an engine and a kubelet in it, and so has the control plane; nothing of
# this machine's own network is changed but for one pair of interfaces and the route to them. `build` keeps what it made in
# a work folder outside the repository. Exit code 77 means: this machine cannot run a cluster.
# shellcheck disable=SC2016 # what is in single quotes is for others to expand
set -euo pipefail

work=${XDG_CACHE_HOME:-$HOME/.cache}/groundwork/kubernetes
bin=$work/bin
run=$work/run
network=10.213 # the third byte is the node's number; 0 is the control plane
packages=(golang-1.19-go golang-1.19-src etcd-server rsync libpopt0)

cannot() { echo "no cluster: $*" >&2; exit 77; }
say() { echo "cluster: $*" >&2; }
inside() { nsenter --net="/run/netns/$1" "${@:2}"; }

unpack() { # Debian's packages and the source, by an apt of its own: the machine may be of another suite
    local site apt=$work/apt deb
    site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -E '/debian/?$' | sort -u | head -n 1) ||
        cannot "apt has no Debian mirror to fetch packages from"
    rm -rf "$apt" "$work/root" "$work/src" && mkdir -p "$apt"/{lists,archives}/partial "$work/src"
    : >"$apt/status"
    printf '%s [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s bookworm main\n' deb "$site" deb-src "$site" \
        >"$apt/sources.list"
    cat >"$apt/conf" <<-EOF
		Dir::State::Lists "$apt/lists"; Dir::State::Status "$apt/status"; Dir::Cache "$apt"; Dir::Cache::Archives "$apt/archives";
		Dir::Etc::SourceList "$apt/sources.list"; Dir::Etc::SourceParts "/dev/null"; Dir::Etc::PreferencesParts "/dev/null"; APT::Sandbox::User "root";
	EOF
    (
        export APT_CONFIG=$apt/conf
        cd "$apt/archives" && apt-get -qq update && apt-get -qq download "${packages[@]}" &&
            apt-get -qq source --download-only kubernetes
    ) >&2 || cannot "apt-get could not fetch the packages"
    for deb in "$apt"/archives/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
    tar -xzf "$apt"/archives/kubernetes_*.orig.tar.gz -C "$work/src" --strip-components 1
    rm -rf "$apt"
}

build() {
    [ -e "$bin/kube-apiserver" ] && return
    command -v apt-get >/dev/null || cannot "it is built with apt-get's sources, and this is no Debian"
    mkdir -p "$work"
    exec 9>"$work/lock" && flock 9
    [ -e "$bin/kube-apiserver" ] && return
    say "unpacking Debian's Kubernetes and Go into $work"
    unpack
    say "compiling five servers"
    local servers=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet)
    (
        export GOROOT=$work/root/usr/lib/go-1.19 GOCACHE=$work/go GOPROXY=off GOFLAGS=-p=2 CGO_ENABLED=0
        export PATH=$GOROOT/bin:$work/root/usr/bin:$PATH LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu
        export KUBE_GIT_VERSION=v1.20.2 KUBE_GIT_MAJOR=1 KUBE_GIT_MINOR=20 KUBE_GIT_COMMIT=debian KUBE_GIT_TREE_STATE=clean
        cd "$work/src" && make WHAT="${servers[*]/#/cmd/}" GOLDFLAGS="-s -w"
        printf 'package main\n\nimport ("os"; "os/signal"; "syscall")\n\nfunc main() { c := make(chan os.Signal, 1); signal.Notify(c, syscall.SIGTERM, syscall.SIGINT); <-c }\n' >"$work/pause.go"
        cd "$work" && GO111MODULE=off go build -ldflags '-s -w' -o "$work/src/_output/bin/pause" pause.go
    ) >&2
    mkdir -p "$bin.new"
    cp "$work"/src/_output/bin/{kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy,kubelet,pause} \
        "$work"/root/usr/bin/etcd "$bin.new"
    rm -rf "$work/src" "$work/go" "$bin" && mv "$bin.new" "$bin" # last and at once: a broken-off build is no build
}

background() { # NAME COMMAND…: with its log and pid in the run folder
    local name=$1
    shift
    setsid "$@" >"$run/$name.log" 2>&1 </dev/null 9>&- &
    echo $! >"$run/$name.pid"
}

until_true() { # SECONDS WHAT COMMAND…
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > deadline)); then
            say "$what did not happen"
            tail -n 15 "$run"/*.log >&2
            exit 1
        fi
        sleep 0.3
    done
}

networks() {
    local node
    for node in control node1 node2; do
        ip netns add "gw-$node"
        inside "gw-$node" ip link set lo up
        inside "gw-$node" sysctl -qw net.ipv4.ip_forward=1
    done
    inside gw-control ip link add nodes type bridge
    inside gw-control ip addr add "$network.0.1/24" dev nodes
    inside gw-control ip link set nodes up
    ip link add gw-cluster type veth peer name host netns gw-control
    ip addr add "$network.0.254/24" dev gw-cluster && ip link set gw-cluster up
    inside gw-control ip link set host master nodes up
    ip route add "$network.0.0/16" via "$network.0.1"
    inside gw-control ip route add default via "$network.0.254"
    for node in 1 2; do
        ip link add eth0 netns "gw-node$node" type veth peer name "node$node" netns gw-control
        inside gw-control ip link set "node$node" master nodes up
        inside "gw-node$node" ip addr add "$network.0.1$node/24" dev eth0
        inside "gw-node$node" ip link set eth0 up
        inside "gw-node$node" ip route add default via "$network.0.1"
        inside gw-control ip route add "$network.$node.0/24" via "$network.0.1$node"
    done
}

start() {
    [ "$(id -u)" = 0 ] || cannot "starting one needs root"
    command -v dockerd >/dev/null || cannot "the engine of the container tests comes first: eval \"\$(engine.sh start)\""
    build
    mkdir -p "$work"
    exec 9>"$work/lock" && flock 9
    clean
    mkdir -p "$run"
    networks
    local api=https://$network.0.1:6443 node token
    token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    (
        umask 077
        echo "$token,admin,admin,system:masters" >"$run/tokens"
        openssl genrsa -out "$run/accounts.key" 2048 2>/dev/null
        cat >"$run/kubeconfig" <<-EOF
			apiVersion: v1
			kind: Config
			current-context: tests
			clusters: [{name: tests, cluster: {server: "$api", insecure-skip-tls-verify: true}}]
			users: [{name: admin, user: {token: "$token"}}]
			contexts: [{name: tests, context: {cluster: tests, user: admin}}]
		EOF
    )
    background etcd nsenter --net=/run/netns/gw-control "$bin/etcd" --data-dir "$run/etcd" \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
    background apiserver nsenter --net=/run/netns/gw-control "$bin/kube-apiserver" --etcd-servers http://127.0.0.1:2379 \
        --bind-address "$network.0.1" --advertise-address "$network.0.1" --cert-dir "$run/apiserver" \
        --token-auth-file "$run/tokens" --authorization-mode RBAC --service-cluster-ip-range "$network.100.0/24" \
        --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$run/accounts.key" \
        --service-account-signing-key-file "$run/accounts.key" --allow-privileged=false --kubelet-preferred-address-types InternalIP \
        --kubelet-certificate-authority= --requestheader-client-ca-file= --v=1
    local kube=(--kubeconfig "$run/kubeconfig")
    until_true 90 "the API server's answer" curl --silent --insecure --fail --header "Authorization: Bearer $token" "$api/readyz"
    background controllers nsenter --net=/run/netns/gw-control "$bin/kube-controller-manager" "${kube[@]}" \
        --service-account-private-key-file "$run/accounts.key" --use-service-account-credentials=false \
        --bind-address 127.0.0.1 --horizontal-pod-autoscaler-sync-period 5s --horizontal-pod-autoscaler-cpu-initialization-period 5s \
        --horizontal-pod-autoscaler-initial-readiness-delay 5s --node-monitor-grace-period 20s
    background scheduler nsenter --net=/run/netns/gw-control "$bin/kube-scheduler" "${kube[@]}" --bind-address 127.0.0.1
    background proxy nsenter --net=/run/netns/gw-control "$bin/kube-proxy" "${kube[@]}" --hostname-override control \
        --proxy-mode iptables --masquerade-all --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0
    cat >"$run/runc" <<-'EOF'
		#!/bin/sh
		# Without CAP_SYS_RESOURCE no process may be put below this one's score for the out-of-memory killer.
		for word; do case $word in --bundle | -b) next=1 ;; *) [ "${next-}" ] && bundle=$word && next= ;; esac; done
		[ -z "${bundle-}" ] || sed -i 's/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/' "$bundle/config.json"
		exec runc "$@"
	EOF
    chmod +x "$run/runc"
    for node in 1 2; do
        mkdir -p "$run/node$node/"{data,exec,kubelet}
        inside "gw-node$node" ip link add pods type bridge
        inside "gw-node$node" ip addr add "$network.$node.1/24" dev pods
        inside "gw-node$node" ip link set pods up
        background "engine$node" nsenter --net="/run/netns/gw-node$node" dockerd --host "unix://$run/node$node/docker.sock" \
            --pidfile "$run/node$node/pid" --data-root "$run/node$node/data" --exec-root "$run/node$node/exec" \
            --bridge pods --iptables=false --ip-masq=false --ip6tables=false \
            --add-runtime "kubelet=$run/runc" --default-runtime kubelet
    done
    for node in 1 2; do
        until_true 60 "the engine of node $node" docker --host "unix://$run/node$node/docker.sock" version
        tar -C "$bin" -c pause | docker --host "unix://$run/node$node/docker.sock" import \
            --change 'ENTRYPOINT ["/pause"]' - pause:local >/dev/null
        background "kubelet$node" nsenter --net="/run/netns/gw-node$node" "$bin/kubelet" "${kube[@]}" \
            --hostname-override "node$node" --node-ip "$network.0.1$node" --container-runtime docker \
            --docker-endpoint "unix://$run/node$node/docker.sock" --pod-infra-container-image pause:local \
            --root-dir "$run/node$node/kubelet" --cert-dir "$run/node$node/certificates" --cgroup-driver cgroupfs \
            --cgroups-per-qos=false --enforce-node-allocatable= --fail-swap-on=false --eviction-hard= \
            --image-gc-high-threshold 100 --network-plugin= --read-only-port 0 --anonymous-auth=true \
            --authorization-mode AlwaysAllow --resolv-conf "" --v=1
    done
    export KUBECONFIG=$run/kubeconfig
    for node in 1 2; do
        until_true 120 "node $node became ready" kubectl wait --for condition=Ready "node/node$node" --timeout 0s
    done
    echo "export KUBECONFIG=$run/kubeconfig"
}

load() { # IMAGE NAME NODE…
    local node name=$2
    docker tag "$1" "$name"
    for node in "${@:3}"; do
        docker save "$name" | docker --host "unix://$run/node$node/docker.sock" load --quiet >/dev/null
    done
}

end() { # NAME SECONDS: the process of a pid file, if it is still ours
    local pid
    pid=$(cat "$run/$1.pid" 2>/dev/null) || return 0
    if grep -qzF "$work/" "/proc/$pid/cmdline" 2>/dev/null; then
        kill "$pid"
        for _ in $(seq $(($2 * 5))); do [ -e "/proc/$pid" ] || break; sleep 0.2; done
        [ ! -e "/proc/$pid" ] || kill -KILL "$pid"
    fi
    rm -f "$run/$1.pid"
}

clean() { # whatever a run has left, in whichever state it was
    local node name mount
    for name in kubelet1 kubelet2 proxy scheduler controllers apiserver etcd; do end "$name" 10; done
    for node in 1 2; do
        if docker --host "unix://$run/node$node/docker.sock" version >/dev/null 2>&1; then
            docker --host "unix://$run/node$node/docker.sock" ps --all --quiet |
                xargs --no-run-if-empty docker --host "unix://$run/node$node/docker.sock" rm --force --volumes >/dev/null
        fi
        end "engine$node" 30
    done
    awk -v at="$run/" 'index($2, at) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do umount --lazy "$mount"; done
    for name in control node1 node2; do ip netns delete "gw-$name" 2>/dev/null || true; done
    ip link delete gw-cluster 2>/dev/null || true
    rm -rf "$run"
}

stop() {
    exec 9>"$work/lock" && flock 9
    clean
}

case ${1-} in
build | start | stop) "$1" ;;
load) load "${@:2}" ;;
*) sed -n '2,13s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
