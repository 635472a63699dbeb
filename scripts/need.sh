#!/bin/bash
# Makes sure that what a make target needs is there, and installs what is missing (Debian and its kin).
# usage: scripts/need.sh build | demo | test | bench
#
#   build  a C compiler, make and perl (SQLite, libpq, OpenSSL and aws-lc are built from source), and cargo
#   demo   build, and Dovecot; without Dovecot the demo reads its mail from files, so that is no error
#   test   demo, and PostgreSQL, Redis and strace; here everything must be there, but for Cyrus: what is tested with it says
#          that it is missing. Debian's Cyrus and Dovecot exclude each other, so it is only unpacked, into target/cyrus
#   bench  test, and mbsync (isync), beside which syncing is measured
#
# It installs only as root or through sudo, only with apt-get, and only programs: no service that comes with them is
# started, none is enabled at boot, no database cluster is made, and what already runs is left alone.
#   - For the time of the installation /usr/sbin/policy-rc.d (Debian's own switch for this) forbids these services to
#     start. If the machine has such a file, it is asked; if it would let them start, nothing is installed.
#   - /etc/postgresql-common/createcluster.d is Debian's own switch for "no cluster"; our file there goes afterwards.
#   - Services that this installation brought are disabled again; those that were there before are not touched.
# INSTALL=no in the environment: install nothing, only say what is missing.
set -euo pipefail

say() { echo "need: $*" >&2; }

# Where servers may be, beside PATH.
has() { # has PROGRAM
  local place
  command -v "$1" >/dev/null 2>&1 && return 0
  for place in /usr/lib/postgresql/*/bin /usr/sbin /usr/local/sbin; do
    if [ -x "$place/$1" ]; then return 0; fi
  done
  return 1
}

has_dovecot_part() { # has_dovecot_part NAME
  local folder
  for folder in /usr/lib/dovecot /usr/libexec/dovecot /usr/local/libexec/dovecot; do
    if [ -e "$folder/$1" ]; then return 0; fi
  done
  return 1
}

# The packages that are missing for a target, one a line.
missing_packages() { # missing_packages TARGET
  if ! has cc; then echo gcc; echo libc6-dev; fi
  if ! has make; then echo make; fi
  if ! has perl; then echo perl; fi
  if [ "$1" = build ]; then return; fi
  if ! has dovecot || ! has doveadm || ! has_dovecot_part imap; then echo dovecot-imapd; fi
  if ! has_dovecot_part lmtp; then echo dovecot-lmtpd; fi
  if [ "$1" = demo ]; then return; fi
  if ! has initdb || ! has postgres || ! has pg_isready; then echo postgresql; fi
  if ! has redis-server || ! has redis-cli; then echo redis-server; fi
  if ! has strace; then echo strace; fi
  if [ "$1" = test ]; then return; fi
  if ! has mbsync; then echo isync; fi
}

# Services of the packages above, as systemd and init.d know them.
services=(dovecot.service dovecot.socket postgresql.service redis-server.service)

policy=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/mailroom-makes-no-cluster.conf

# What stands there only while we install.
wrote_policy=no
wrote_no_cluster=no

# shellcheck disable=SC2317 # reached through a trap
put_back() {
  if [ "$wrote_policy" = yes ]; then rm -f "$policy"; fi
  if [ "$wrote_no_cluster" = yes ]; then
    rm -f "$no_cluster"
    rmdir --ignore-fail-on-non-empty "$(dirname "$no_cluster")" 2>/dev/null || true
  fi
}

# Runs as root: we are root, or sudo makes us so.
install_as_root() { # install_as_root PACKAGE...
  local service name verdict present=()
  trap put_back EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP

  if [ -e "$policy" ]; then
    for service in dovecot postgresql redis-server; do
      verdict=0
      "$policy" "$service" start >/dev/null 2>&1 || verdict=$?
      if [ "$verdict" != 101 ]; then
        say "$policy of this machine would let $service start; please install: $*"
        exit 3
      fi
    done
  else
    # Only for these services: another installation at the same time is none of our business.
    wrote_policy=yes
    cat >"$policy" <<'POLICY'
#!/bin/sh
case "$1" in dovecot* | postgresql* | redis-server*) exit 101 ;; esac
exit 0
POLICY
    chmod 755 "$policy"
  fi
  if [ ! -e "$no_cluster" ]; then
    wrote_no_cluster=yes
    mkdir -p "$(dirname "$no_cluster")"
    echo "create_main_cluster = false" >"$no_cluster"
  fi
  for service in "${services[@]}"; do
    name=${service%.*}
    if [ -e "/lib/systemd/system/$service" ] || [ -e "/usr/lib/systemd/system/$service" ] || [ -e "/etc/init.d/$name" ]; then
      present+=("$service")
    fi
  done

  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq -o DPkg::Lock::Timeout=120 update >&2 || say "apt-get update failed; trying with the lists that are there"
  apt-get -qq -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 install --no-install-recommends "$@" >&2

  for service in "${services[@]}"; do
    case " ${present[*]-} " in *" $service "*) continue ;; esac
    name=${service%.*}
    if command -v systemctl >/dev/null 2>&1; then
      systemctl --quiet disable "$service" >/dev/null 2>&1 || true
    elif [ -e "/etc/init.d/$name" ] && command -v update-rc.d >/dev/null 2>&1; then
      update-rc.d "$name" disable >/dev/null 2>&1 || true
    fi
  done
}

if [ "${1:-}" = --as-root ]; then
  shift
  install_as_root "$@"
  exit 0
fi

target=${1:-}
case $target in build | demo | test | bench) ;; *) sed -n 2,3p "$0" >&2; exit 2 ;; esac

if ! has cargo; then
  say "cargo is missing: install Rust 1.95 or newer"
  exit 1
fi

# Unpacks Cyrus, and what it needs beside what is installed, into the folder of what cargo builds: nothing is installed.
unpack_cyrus() {
  local folder=${CARGO_TARGET_DIR:-target}/cyrus fresh name debs=()
  if [ -x /usr/lib/cyrus/bin/imapd ] && has saslpasswd2; then return 0; fi
  if [ -x "$folder/usr/lib/cyrus/bin/imapd" ] || [ "${INSTALL:-yes}" = no ]; then return 0; fi
  if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg >/dev/null 2>&1; then return 0; fi
  # What would be installed, without the mail transport agent that Debian's package asks for.
  mapfile -t debs < <(apt-get -s install --no-install-recommends cyrus-imapd sasl2-bin 2>/dev/null \
    | awk '$1 == "Inst" && $2 !~ /^exim4/ { print $2 }')
  if [ ${#debs[@]} -eq 0 ]; then say "no Cyrus here: it is left out of the tests"; return 0; fi
  say "unpacking Cyrus into $folder (nothing is installed)"
  mkdir -p "$folder.new.$$"
  fresh=$(cd "$folder.new.$$" && pwd)
  if (cd "$fresh" && apt-get -qq -o "APT::Sandbox::User=$(id -un)" download "${debs[@]}" >&2 \
    && for name in *.deb; do dpkg -x "$name" . && rm "$name"; done); then
    rm -rf "$folder"
    mv "$fresh" "$folder"
  else
    rm -rf "$fresh"
    say "Cyrus can't be unpacked: it is left out of the tests"
  fi
}

# Everything is there, but perhaps for Cyrus.
finish() {
  if [ "$target" = test ]; then unpack_cyrus; fi
  exit 0
}

mapfile -t packages < <(missing_packages "$target")
if [ ${#packages[@]} -eq 0 ]; then finish; fi

installed=no
if [ "${INSTALL:-yes}" = no ] || ! command -v apt-get >/dev/null 2>&1; then
  :
elif [ "$(id -u)" = 0 ]; then
  say "installing ${packages[*]} (programs only: no service is started or enabled)"
  if "$0" --as-root "${packages[@]}"; then installed=yes; fi
elif command -v sudo >/dev/null 2>&1; then
  # Ask for a password only where somebody can type one.
  ask=(--non-interactive)
  if [ -t 0 ] && [ -t 2 ]; then ask=(); fi
  say "installing ${packages[*]} with sudo (programs only: no service is started or enabled)"
  if sudo ${ask[@]+"${ask[@]}"} "$0" --as-root "${packages[@]}"; then installed=yes; fi
fi

mapfile -t packages < <(missing_packages "$target")
if [ ${#packages[@]} -eq 0 ]; then finish; fi
if [ "$installed" = yes ]; then say "apt-get installed them, and still something is not where it is looked for"; fi

only_dovecot=yes
for package in "${packages[@]}"; do
  case $package in dovecot-*) ;; *) only_dovecot=no ;; esac
done
if [ "$target" = demo ] && [ "$only_dovecot" = yes ]; then
  say "no Dovecot (${packages[*]}): the demo reads its mail from files instead"
  exit 0
fi
say "missing, please install: ${packages[*]}"
exit 1
