#!/bin/sh
# Fetches Omniboard at its pin into sacred/node_modules: what `make dashboard` runs.
set -eu
cd "$(dirname "$0")"

fail() {
    printf 'dashboard: %s\n' "$1" >&2
    exit 1
}

command -v node >/dev/null && command -v npm >/dev/null ||
    fail "Omniboard needs Node 18 or newer with npm: apt-get install nodejs npm, or see nodejs.org"
node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' ||
    fail "Omniboard needs Node 18 or newer, found $(node --version): install a newer one"

# One at a time: two would empty each other's folder.
if command -v flock >/dev/null; then
    exec 9<install.sh
    flock 9
fi
if [ node_modules/.ready -nt package-lock.json ] && [ node_modules/.ready -nt package.json ]; then
    exit 0
fi

printf 'dashboard: installing Omniboard (70 MB from npm), once\n'
rm -f node_modules/.ready
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error ||
    fail "npm could not install Omniboard (its reason is above): mend that and try again"
# Nine tenths of the package are what its pages were built with.
rm -rf node_modules/omniboard/web/node_modules
touch node_modules/.ready
