#!/bin/bash
# Runs a command beside a private PostgreSQL and a private Redis, and stops both whatever happens.
# usage: tests/with-servers.sh COMMAND [ARGUMENT ...]
#
# The command finds them by MAILROOM_TEST_POSTGRES and MAILROOM_TEST_REDIS. Both live in a temporary folder, never
# touch the system's own services, and are made for speed: what they hold is worth nothing after the run.
set -euo pipefail

[ $# -gt 0 ] || { sed -n 2,3p "$0" >&2; exit 2; }

say() { echo "with-servers: $*" >&2; }

# Programs are not always on PATH: Debian keeps PostgreSQL's under its version.
find_program() {
  local name=$1 place
  if place=$(command -v "$name"); then echo "$place"; return; fi
  for place in /usr/lib/postgresql/*/bin "/usr/sbin" "/usr/local/sbin"; do
    if [ -x "$place/$name" ]; then echo "$place/$name"; fi
  done | sort -V | tail -n 1
}

initdb=$(find_program initdb); postgres=$(find_program postgres); isready=$(find_program pg_isready)
redis=$(find_program redis-server); redis_cli=$(find_program redis-cli)
if [ -z "$initdb" ] || [ -z "$postgres" ] || [ -z "$isready" ]; then say "PostgreSQL is missing (Debian: postgresql)"; exit 2; fi
if [ -z "$redis" ] || [ -z "$redis_cli" ]; then say "Redis is missing (Debian: redis-server)"; exit 2; fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/mailroom-tests.XXXXXX")

# PostgreSQL refuses root, so root hands both to somebody who owns nothing else.
drop=()
if [ "$(id -u)" = 0 ]; then
  owner=nobody
  if id postgres >/dev/null 2>&1; then owner=postgres; fi
  chown "$owner" "$folder"
  drop=(setpriv "--reuid=$(id -u "$owner")" "--regid=$(id -g "$owner")" --clear-groups)
fi

# Runs a server until standard input closes. We hold the other end, so it stops with us even if we are killed.
# A session of its own keeps the terminal's Ctrl-C from it.
keep() { # keep SIGNAL LOG COMMAND...
  local signal=$1 log=$2 server
  shift 2
  trap '' INT TERM HUP
  setsid "${drop[@]}" "$@" >>"$log" 2>&1 </dev/null &
  server=$!
  echo "$server" >"$log.pid"
  # Ends when our writing end closes; a server that has died is noticed by whoever asks it.
  read -r _ || true
  kill -s "$signal" "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
}

postgres_keeper=; redis_keeper=; postgres_end=; redis_end=
# shellcheck disable=SC2317 # reached through the trap below
clean_up() {
  trap '' INT TERM HUP
  if [ -n "$redis_end" ]; then exec {redis_end}>&-; wait "$redis_keeper" 2>/dev/null || true; fi
  if [ -n "$postgres_end" ]; then exec {postgres_end}>&-; wait "$postgres_keeper" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

wait_for() { # wait_for NAME LOG COMMAND...
  local name=$1 log=$2
  shift 2
  for _ in $(seq 600); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    if [ -s "$log.pid" ] && ! kill -0 "$(cat "$log.pid")" 2>/dev/null; then break; fi
    sleep 0.05
  done
  say "$name did not start:"; tail -n 5 "$log" >&2
  return 1
}

start_postgres() {
  mkdir "$folder/socket"
  chmod 700 "$folder/socket"
  if [ ${#drop[@]} -gt 0 ]; then chown "$owner" "$folder/socket"; fi
  (cd "$folder" && "${drop[@]}" "$initdb" --pgdata="$folder/data" --username=mailroom --auth=trust --encoding=UTF8 \
    --locale=C.UTF-8 --no-sync >"$folder/initdb.log" 2>&1) || { say "initdb failed:"; tail -n 5 "$folder/initdb.log" >&2; exit 2; }
  local settings=(
    -c "unix_socket_directories=$folder/socket" -c listen_addresses=
    -c wal_level=minimal -c max_wal_senders=0 -c max_wal_size=4GB
    -c max_connections=500 -c shared_buffers=256MB -c timezone=UTC
  )
  # Measurements are made with a database that loses nothing; tests have nothing to lose.
  if [ -z "${MAILROOM_TEST_DURABLE:-}" ]; then
    settings+=(-c fsync=off -c full_page_writes=off -c synchronous_commit=off)
  fi
  # SIGINT is PostgreSQL's fast stop: it ends connections instead of waiting for them.
  exec {postgres_end}> >(keep INT "$folder/postgres.log" "$postgres" -D "$folder/data" "${settings[@]}")
  postgres_keeper=$!
  wait_for PostgreSQL "$folder/postgres.log" "$isready" -q -h "$folder/socket" -U mailroom -d postgres
  export MAILROOM_TEST_POSTGRES="postgresql:///postgres?host=${folder//\//%2F}%2Fsocket&user=mailroom"
}

start_redis() {
  local port
  for _ in $(seq 20); do
    port=$((20000 + RANDOM % 12000))
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue; fi
    : >"$folder/redis.log"
    # Without PostgreSQL's end, which would keep that server alive.
    exec {redis_end}> >(exec {postgres_end}>&-; keep TERM "$folder/redis.log" "$redis" --bind 127.0.0.1 --port "$port" \
      --save "" --appendonly no --dir "$folder")
    redis_keeper=$!
    if wait_for Redis "$folder/redis.log" "$redis_cli" -p "$port" ping; then
      export MAILROOM_TEST_REDIS="redis://127.0.0.1:$port"
      return
    fi
    exec {redis_end}>&-
    wait "$redis_keeper" 2>/dev/null || true
    redis_end=
  done
  say "no port for Redis"
  exit 2
}

start_postgres
start_redis

# Not `exec`: we must outlive the command. It does not get our ends of the pipes, so that they close with us.
code=0
"$@" {postgres_end}>&- {redis_end}>&- || code=$?
exit "$code"
