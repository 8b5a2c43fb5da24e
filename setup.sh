#!/bin/sh
# Builds .venv with every package at its pin: what `make setup` runs.
# PYTHON names the interpreter; without it the first of python3, python3.13, 3.12, 3.11 that fits.
set -eu
cd "$(dirname "$0")"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0

say() { printf 'setup: %s\n' "$1"; }
fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

# Prints an interpreter of a version that has wheels of everything and can build a venv.
find_python() {
    without_venv=
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3 python3.13 python3.12 python3.11; fi
    for candidate in "$@"; do
        "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
            2>/dev/null || continue
        # Debian and Ubuntu ship ensurepip, which venv needs, in a package of its own.
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
        without_venv=${without_venv:-$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])')}
    done
    if [ -n "$without_venv" ]; then
        fail "Python $without_venv is here but cannot build a venv: apt-get install python$without_venv-venv, then run this again"
    fi
    fail "no Python 3.11 to 3.13 found as $* (opensim has no wheel for others): install one, or name yours with make setup PYTHON=/path/to/python3.12"
}

install() {
    # -qq: a line for each error and nothing else.
    .venv/bin/python -m pip install -qq "$@" ||
        fail "pip could not install $what (its reason is above): mend that and run make setup again"
}

finished() {
    for pins in requirements*.txt pyproject.toml; do
        [ .venv/.ready -nt "$pins" ] || return 1
    done
}

# One set-up at a time: train in one terminal and test in another both want it.
if command -v flock >/dev/null; then
    exec 9<setup.sh
    if ! flock -n 9; then
        say "waiting for the set-up that is already running"
        flock 9
        if finished; then exit 0; fi
    fi
fi

# Only a set-up that ended has left .ready; what one that was interrupted left is thrown away.
if [ -e .venv/.ready ] && .venv/bin/python -c '' 2>/dev/null; then
    say "the pins have changed: bringing .venv up to date"
    rm -f .venv/.ready
else
    python=$(find_python)
    say "creating .venv with $("$python" --version) ($(command -v "$python"))"
    rm -rf .venv
    "$python" -m venv .venv || fail "$python -m venv failed (its reason is above)"
    say "installing the pinned packages: one to two minutes, 2.6 GB"
fi

what="the packages of requirements-dev.txt"
install -r requirements-dev.txt
what="osim-rl"
install --no-deps --no-build-isolation --use-pep517 -r requirements-no-deps.txt
what="this project"
install --no-deps --no-build-isolation --editable .
touch .venv/.ready
say "done; make train starts the first run, make doctor checks this machine"
