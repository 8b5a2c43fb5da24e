#!/bin/sh
# Draws the passwords of docker-compose.yml into .env, for this user's eyes only; keeps those there are.
set -eu
cd "$(dirname "$0")"

# 192 bits, in letters that no URL and no shell minds.
password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

umask 077
# Written aside and linked: a script that is killed leaves no half, and an .env that is there wins.
new=$(mktemp .env.XXXXXX)
trap 'rm -f "$new"' EXIT
printf 'MONGO_ROOT_PASSWORD=%s\nES_MONGO_PASSWORD=%s\n' "$(password)" "$(password)" >"$new"
if ln "$new" .env 2>/dev/null; then
    echo "passwords drawn into sacred/.env"
elif [ -f .env ]; then
    echo "sacred/.env is there already and stays: the volume of MongoDB knows its passwords"
else
    echo "sacred/.env cannot be written" >&2
    exit 1
fi
