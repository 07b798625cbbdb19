#!/bin/bash
# What the official image's entrypoint does, as far as compose.yaml relies on it: a first start makes the cluster with
# POSTGRES_PASSWORD and runs /docker-entrypoint-initdb.d/*.sh on a socket.
set -euo pipefail
if [ "${1-}" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    [ -n "${POSTGRES_PASSWORD-}" ] || { echo "POSTGRES_PASSWORD is not set" >&2; exit 1; }
    initdb -D "$PGDATA" -U postgres --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 --auth-local=trust >/dev/null
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=''" start >/dev/null
    for file in /docker-entrypoint-initdb.d/*.sh; do
        # shellcheck disable=SC1090 # whichever there are; sourced where they cannot be executed, as in the official one
        if [ -x "$file" ]; then "$file"; else . "$file"; fi
    done
    pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
fi
if [ "${1-}" = postgres ]; then set -- "$@" -c listen_addresses='*'; fi
exec "$@"
