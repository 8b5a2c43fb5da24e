#!/bin/bash
# From a bare Ubuntu 24.04, or an image that was baked, to a machine of a cluster at work.
#
#   boot.sh MACHINE_JSON         install what is missing, unpack the cluster's code, start services
#   boot.sh MACHINE_JSON bake    install everything, for both roles, and start nothing
#
# Run once, as root, by the user data that cluster/aws/user_data.py writes, with WALKING_ES_ENDS_S
# (seconds since 1970) in its environment. MACHINE_JSON names the cluster's place in the bucket,
# whose spec.json names the archives by their sha256: source/, include/ and requirements/ of the
# same bucket. Whatever fails ends it, with a line that says what; what it has said is sent to the
# cluster's log, so that nobody needs a shell on the machine to read it.
#
#   /etc/walking-es/machine.json        what the services are told
#   /etc/walking-es/ends                when the machine ends itself, seconds since 1970
#   /opt/walking-es/source              our code
#   /opt/walking-es/include             the user's own folder
#   /opt/walking-es/venv                Python packages
#   /opt/walking-es/venv.sha256         what is installed there if it is everything; see below
#   /var/lib/walking-es                 the services' own files: runs
#   /var/log/walking-es                 what they say
set -Eeuo pipefail

machine_json=$1
mode=${2:-start}
etc=/etc/walking-es
opt=/opt/walking-es
user=walking-es
fetched=$opt/fetched

say() { echo "walking-es: $*"; }

failed() {
  local code=$? line=$1
  trap - ERR
  say "setting up this machine failed in line $line of boot.sh (exit code $code)"
  if [ -f "$opt/source/cluster/machine/last_words.py" ]; then
    python3 "$opt/source/cluster/machine/last_words.py" "$machine_json" \
      /var/log/walking-es-boot.log || true
  fi
  exit 1
}
trap 'failed $LINENO' ERR

# The value of a field of a JSON file; nothing where it is missing or null.
field() {
  python3 -c 'import json, sys
print(json.load(open(sys.argv[1])).get(sys.argv[2]) or "")' "$1" "$2"
}

# fetch KEY FILE [SHA256]: from the bucket's root.
fetch() { python3 "$etc/first_fetch.py" "$machine_json" "$@"; }

unpack() {
  rm -rf "$2"
  mkdir -p "$2"
  tar -xzf "$1" -C "$2" --no-same-owner --no-same-permissions
}

fetch_source() {
  local store place source
  store=$(field "$machine_json" store)
  place=${store#s3://*/}
  fetch "$place/spec.json" "$fetched/spec.json"
  source=$(field "$fetched/spec.json" source)
  fetch "source/$source.tar.gz" "$fetched/source.tar.gz" "$source"
  unpack "$fetched/source.tar.gz" "$opt/source"
}

# What an image has installed is known by the hash of all that could be; the same is computed by
# cluster.aws.provider.requirements_hash, which chooses images by it.
everything() {
  (cd "$opt/source" && python3 -c 'import hashlib, pathlib
names = "requirements.txt", "requirements-no-deps.txt", "requirements-worker.txt"
texts = [pathlib.Path(name).read_bytes() for name in names]
print(hashlib.sha256(b"\0".join(texts)).hexdigest())')
}

install_system() {
  export DEBIAN_FRONTEND=noninteractive
  local packages=(python3-venv ca-certificates)
  # Ours is started by the head itself, on the cluster's address and with TLS.
  if [ "$role" = head ] || [ "$mode" = bake ]; then
    systemctl mask redis-server.service || true
    packages+=(redis-server openssl)
  fi
  # What an image does of its own after its first start may hold apt's lock for minutes.
  local patience=(-o DPkg::Lock::Timeout=600 -o Acquire::Retries=5)
  apt-get "${patience[@]}" -q -y update
  apt-get "${patience[@]}" -q -y install --no-install-recommends "${packages[@]}"
}

pip() { "$opt/venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

install_python() {
  local requirements=requirements-worker.txt
  if [ "$role" = head ] || [ "$mode" = bake ]; then requirements=requirements.txt; fi
  say "installing $requirements"
  rm -rf "$opt/venv" "$opt/venv.sha256"
  python3 -m venv "$opt/venv"
  pip install -q --no-cache-dir --retries 10 -r "$opt/source/$requirements"
  pip install -q --no-cache-dir --retries 10 --no-deps -r "$opt/source/requirements-no-deps.txt"
  if [ "$requirements" = requirements.txt ]; then echo "$wanted" > "$opt/venv.sha256"; fi
}

add_users_own() {
  local include requirements
  include=$(field "$fetched/spec.json" include)
  requirements=$(field "$fetched/spec.json" requirements)
  if [ -n "$include" ]; then
    fetch "include/$include.tar.gz" "$fetched/include.tar.gz" "$include"
    unpack "$fetched/include.tar.gz" "$opt/include"
    python3 -c 'import json, sys
path = sys.argv[1]
machine = json.load(open(path))
machine["include"] = sys.argv[2]
json.dump(machine, open(path, "w"))' "$machine_json" "$opt/include"
  fi
  if [ -n "$requirements" ]; then
    say "installing the user's own requirements"
    fetch "requirements/$requirements.txt" "$fetched/requirements.txt" "$requirements"
    # Within our own pins: another numpy computes other bits, and workers refuse each other.
    sed 's/\[[a-z0-9,]*\]//' "$opt/source/requirements-worker.txt" > "$fetched/pins.txt"
    pip install -q --no-cache-dir -r "$fetched/requirements.txt" -c "$fetched/pins.txt"
  fi
}

make_user() {
  id -u "$user" > /dev/null 2>&1 \
    || useradd --system --home-dir /var/lib/walking-es --shell /usr/sbin/nologin "$user"
  install -d -m 0700 -o "$user" -g "$user" /var/lib/walking-es
  install -d -m 0755 /var/log/walking-es
}

start_services() {
  local units=("walking-es-$role.service" walking-es-log.service walking-es-end.service)
  for unit in "${units[@]}"; do
    install -m 0644 "$opt/source/cluster/machine/units/$unit" "/etc/systemd/system/$unit"
  done
  echo "${WALKING_ES_ENDS_S:?}" > "$etc/ends"
  systemctl daemon-reload
  for unit in "${units[@]}"; do
    systemctl enable --now "$unit"
  done
}

mkdir -p "$fetched"
role=$(field "$machine_json" role)
say "a $role is set up"
fetch_source
wanted=$(everything)
if [ -f "$opt/venv.sha256" ] && [ "$(cat "$opt/venv.sha256")" = "$wanted" ]; then
  say "this image has everything installed"
else
  install_system
  install_python
fi
if [ "$mode" = bake ]; then
  rm -rf "$opt/source" "$fetched"
  say "everything is installed"
  exit 0
fi
add_users_own
make_user
"$opt/venv/bin/python" -m compileall -q "$opt/source" || true
start_services
say "services are started"
