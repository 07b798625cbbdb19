#!/bin/sh
# Runs a command with its secrets as variables: the file /run/secrets/PGPASSWORD becomes the variable PGPASSWORD. A short
# secret is one that a person made up, or a default: it is refused.
set -eu
for file in /run/secrets/[A-Z]*; do
    [ -f "$file" ] || continue
    name=${file##*/} value=$(cat "$file")
    case $name in
    *PASSWORD | *SECRET*)
        if [ ${#value} -lt 20 ]; then
            echo "the secret $name has ${#value} characters, and needs 20: make it with ops/compose/make_secrets.py" >&2
            exit 1
        fi
        ;;
    esac
    export "$name=$value"
done
exec "$@"
