#!/usr/bin/env bash
# What GitHub Actions and GitLab CI share of the delivery. Each step can also be typed, in the pilot's folder:
#
#   ops/delivery.sh conflicts                    fail if a file was left in conflict
#   ops/delivery.sh alerts                       check the alert rules with promtool
#   ops/delivery.sh template                     say whether the change since BASE leaves the template's files alone
#   ops/delivery.sh sbom FOLDER                  write what each image installs, as CycloneDX
#   ops/delivery.sh build                        build the images REGISTRY/service and REGISTRY/pipeline of this commit
#   ops/delivery.sh push                         push them and print their digests, as NAME=VALUE
#   ops/delivery.sh readiness FOLDER             write the scorecard; fails if the criteria are not in force
#   ops/delivery.sh deploy ENVIRONMENT           run the images SERVICE_DIGEST and PIPELINE_DIGEST, and wait for them
#   ops/delivery.sh rollback ENVIRONMENT COMMIT  run the images and the manifests of an earlier commit
#   ops/delivery.sh update                       propose the newest version of the template, as UPDATE_TOKEN may
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

conflicts() { # Copier ends well on a conflict, and so do the bots that run it
    local found
    found=$(git grep -I --line-number --extended-regexp '^(<<<<<<<|>>>>>>>)( |$)' || true; git ls-files '*.rej')
    [ -z "$found" ] || refuse "$found"$'\n'"These files are in conflict: decide what is to stand there, and remove the rest."
}

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
            -e "s/(environment|concurrency): (staging|readiness|production|.\{\{)/\1: $name-\2/" \
            -e "s|^( *)branches: .*|&\n\1paths: [\"$folder/**\"]|" "$file" >"$root/.github/workflows/$name-$(basename "$file")"
    done
}

case ${1-} in
conflicts | alerts | template | sbom | build | push | readiness | deploy | rollback | update | monorepo) "$@" ;;
*) sed -n '2,17s/^# \{0,1\}//p' ops/delivery.sh && exit 2 ;;
esac
