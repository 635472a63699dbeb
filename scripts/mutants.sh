#!/bin/bash
# Mutation tests of the rules: changes them in every small way that cargo-mutants knows, and fails unless the unit
# tests beside them notice each change.
# usage: scripts/mutants.sh [ARGUMENT OF CARGO MUTANTS ...]     e.g. scripts/mutants.sh --file src/rules/queue.rs
#
# The whole crate takes too long to build for each mutant. src/model and src/rules need nothing else of it, so they
# are copied into a small crate of their own, with the few crates that they use, in the versions of Cargo.lock.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
crate=$target/mutants

if ! cargo mutants --version >/dev/null 2>&1; then
  echo "mutants: cargo-mutants is missing: cargo install --locked cargo-mutants" >&2
  exit 2
fi

mkdir -p "$crate/src" "$crate/.cargo"
rm -rf "$crate/src/model" "$crate/src/rules"
cp -r src/model src/rules "$crate/src/"
cp .cargo/mutants.toml "$crate/.cargo/"
cp Cargo.lock "$crate/"

dependency() { grep -E "^$1 = " Cargo.toml | head -n 1; }
{
  echo '[package]'
  echo 'name = "mailroom-rules"'
  echo 'version = "0.0.0"'
  echo 'edition = "2024"'
  echo '[workspace]'
  echo '[dependencies]'
  dependency serde; dependency serde_json; dependency chrono
  echo '[dev-dependencies]'
  dependency proptest
  # Mutants are built more often than they run for long.
  echo '[profile.test]'
  echo 'debug = false'
} >"$crate/Cargo.toml"
printf '//! The rules, alone.\n#![allow(dead_code)]\npub mod model;\npub mod rules;\n' >"$crate/src/lib.rs"

cd "$crate"
# A few cases find a mutant as surely as hundreds; the full number runs in the suite.
export PROPTEST_CASES=${PROPTEST_CASES:-32}
exec nice cargo mutants --jobs 1 --no-shuffle --colors never --output "$crate" "$@"
