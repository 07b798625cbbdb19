#!/bin/sh
# Everything that the stack keeps, in one file: all volumes, the secrets and .env.
#   ops/compose/archive.sh backup FILE     stops the stack, writes the file, starts the stack again
#   ops/compose/archive.sh restore FILE    replaces what is there by what is in the file, and starts the stack
# The file holds every secret: keep it like one.
set -eu
umask 077
usage() { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
[ $# = 2 ] || usage
case $2 in /*) file=$2 ;; *) file=$PWD/$2 ;; esac
cd "$(dirname "$0")/../.."
case $1 in
backup)
    docker compose stop
    work=$(mktemp -d) && trap 'rm -rf "$work"; docker compose start' EXIT
    docker compose run --rm --no-TTY archive --create . >"$work/volumes.tar"
    tar --create --gzip --file "$file" --directory "$work" volumes.tar --directory "$PWD" secrets .env
    ;;
restore)
    [ -f "$file" ] || { echo "$file: no such file" >&2 && exit 1; }
    tar --list --gzip --file "$file" secrets .env volumes.tar >/dev/null # to its end, before anything is deleted
    { [ -d secrets ] && [ -f .env ]; } || tar --extract --gzip --file "$file" secrets .env # they name what is to go
    docker compose down --volumes
    tar --extract --gzip --file "$file" secrets .env
    tar --extract --gzip --file "$file" --to-stdout volumes.tar | docker compose run --rm --no-TTY archive --extract
    docker compose up --detach --wait
    ;;
*) usage ;;
esac
