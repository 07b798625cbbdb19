#!/usr/bin/env bash
# What GitHub Actions and GitLab CI share of the delivery. Each step can also be typed, in the pilot's folder:
#
#   ops/delivery.sh alerts                       check the alert rules with promtool
#   ops/delivery.sh template                     say whether the change since BASE leaves the template's files alone
#   ops/delivery.sh sbom FOLDER                  write what each image installs, as CycloneDX
#   ops/delivery.sh build                        build the images REGISTRY/service and REGISTRY/pipeline of this commit
#   ops/delivery.sh push                         push them and print their digests, as NAME=VALUE
#   ops/delivery.sh readiness FOLDER             write the scorecard; fails if the criteria are not in force
#   ops/delivery.sh deploy ENVIRONMENT           run the images SERVICE_DIGEST and PIPELINE_DIGEST, and wait for them
#   ops/delivery.sh rollback ENVIRONMENT COMMIT  run the images and the manifests of an earlier commit
#   ops/delivery.sh monorepo                     copy the workflows to the root of the repository, where GitHub reads them
#
# Capitals are environment variables. kubectl finds the cluster by its own settings, or by KUBE_CONFIG, the text of a
# kubeconfig file.
set -euo pipefail
cd "$(dirname "$0")/.."
registry=${REGISTRY:-local}
registry=${registry,,} # a repository may have capitals in its name, an image may not

refuse() { echo "$*" >&2; exit 1; }
commit() { git rev-parse HEAD; }
as_root() { [ "$(id -u)" = 0 ] || echo sudo; }

alerts() {
    local packages
    if ! command -v promtool >/dev/null; then # Debian has a package for it, Ubuntu 24.04 has it in that of the server
        packages=$(mktemp -d)
        (
            cd "$packages"
            $(as_root) apt-get -qq update
            apt-get -qq download promtool || apt-get -qq download prometheus
            dpkg -x ./*.deb . # unpacked and not installed, so that no server starts
        ) >&2
        PATH=$packages/usr/bin:$PATH
    fi
    promtool check config ops/prometheus/prometheus.yml
}

template() { # an update is nearly all the template's: this fails unless that part is the template's to the byte
    local base=${BASE:-${CI_MERGE_REQUEST_DIFF_BASE_SHA-}} # empty where no change is proposed
    [ -z "$base" ] || uv run groundwork doctor --since "$base"
}

sbom() { # the groups are those that Dockerfile installs
    local export=(uv export --quiet --locked --no-default-groups --format cyclonedx1.5 --preview-features sbom-export)
    mkdir -p "$1"
    "${export[@]}" --output-file "$1/service.cdx.json" --group serve
    "${export[@]}" --output-file "$1/pipeline.cdx.json" \
        --group serve --group pipeline --group monitor --group postgres --group dask --group use-case
}

build() {
    docker build --tag "$registry/service:$(commit)" .
    docker build --tag "$registry/pipeline:$(commit)" --target pipeline --build-arg "GIT_COMMIT=$(commit)" .
}

push() {
    local name image
    for name in service pipeline; do
        image=$registry/$name
        docker push --quiet "$image:$(commit)" >&2
        docker image inspect --format '{{join .RepoDigests "\n"}}' "$image:$(commit)" | sed -n "s|^$image@|${name^^}_DIGEST=|p"
    done
}

readiness() { # not ready to scale is no reason to keep a fix away from the pilot: codes 1 and 2 are shown, and pass
    local code=0
    uv run groundwork readiness --report "$1" || code=$?
    [ "$code" -le 2 ] || exit "$code"
}

deploy() {
    local overlay=ops/kubernetes/overlays/$1 digest namespace
    [ -d "$overlay" ] || refuse "There is no $overlay."
    for digest in "${SERVICE_DIGEST-}" "${PIPELINE_DIGEST-}"; do
        [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || refuse "\"$digest\" is not the digest of an image (sha256:…)."
    done
    cat >"$overlay/images/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
images:
  - {name: service, newName: $registry/service, digest: "$SERVICE_DIGEST"}
  - {name: pipeline, newName: $registry/pipeline, digest: "$PIPELINE_DIGEST"}
END
    if [ -n "${KUBE_CONFIG-}" ]; then
        KUBECONFIG=$(mktemp) && export KUBECONFIG
        trap 'rm -f "$KUBECONFIG"' EXIT
        printf '%s\n' "$KUBE_CONFIG" >"$KUBECONFIG"
    fi
    namespace=$(kubectl kustomize "$overlay" | sed -n 's/^  namespace: //p' | sort -u)
    kubectl delete job migrate --namespace "$namespace" --ignore-not-found # a Job cannot be changed
    kubectl apply --kustomize "$overlay"
    # A rollout that fails leaves the service's pods of the release before as they are; the worker is down.
    kubectl rollout status deployment/service --namespace "$namespace" --timeout 35m
    kubectl rollout status deployment/worker --namespace "$namespace" --timeout 5m
    echo "$1 runs $registry/service@$SERVICE_DIGEST and $registry/pipeline@$PIPELINE_DIGEST"
}

rollback() {
    [[ $2 =~ ^[0-9a-f]{40}$ ]] || refuse "\"$2\" is not a full commit hash."
    git merge-base --is-ancestor "$2" HEAD || refuse "Commit $2 is not in the history of this branch."
    SERVICE_DIGEST=$(pushed service "$2")
    PIPELINE_DIGEST=$(pushed pipeline "$2")
    git checkout --quiet "$2" -- ops/kubernetes
    deploy "$1"
}

pushed() { # IMAGE COMMIT: the digest that the registry has for it
    docker buildx imagetools inspect --format '{{json .Manifest.Digest}}' "$registry/$1:$2" | tr -d '"'
}

monorepo() { # with environments, images and a trigger of the pilot's own
    local root folder name file
    root=$(git rev-parse --show-toplevel)
    folder=$(git rev-parse --show-prefix) && folder=${folder%/}
    [ -n "$folder" ] || refuse "This folder is the root of its repository, where GitHub reads the workflows already."
    name=$(basename "$folder")
    mkdir -p "$root/.github/workflows"
    for file in .github/workflows/{checks,deliver,rollback}.yml; do
        sed -E -e "s|^(name: .*)|\1 $name|" -e "s|working-directory: \.|working-directory: $folder|" \
            -e "s|/checks\.yml|/$name-checks.yml|" -e "s|group: checks|group: $name-checks|" \
            -e "s|(/.\{\{ github\.repository }})|\1/$name|" \
            -e "s/(environment|concurrency): (staging|readiness|production|.\{\{)/\1: $name-\2/" \
            -e "s|^( *)branches: .*|&\n\1paths: [\"$folder/**\"]|" "$file" >"$root/.github/workflows/$name-$(basename "$file")"
    done
}

case ${1-} in
alerts | template | sbom | build | push | readiness | deploy | rollback | monorepo) "$@" ;;
*) sed -n '2,15s/^# \{0,1\}//p' ops/delivery.sh && exit 2 ;;
esac
