#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
# Installs those of the given Debian packages that are missing. Calls apt, and so the network, only if there are any.
set -eu

if ! command -v dpkg-query >/dev/null; then
    echo "setup-system.sh: this is no Debian system; install what corresponds to: $*" >&2
    exit 1
fi

missing=
for package in "$@"; do
    case "$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null)" in
    installed*) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "setup-system.sh: missing packages; as root: apt-get install$missing" >&2
    exit 1
fi
printf '  %-7s%s\n' APT "$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of names without blanks
if ! { apt-get -qq update && apt-get -qq install --no-install-recommends $missing >/dev/null; }; then
    echo "setup-system.sh: apt could not install$missing; see above, and check that the network is up" >&2
    exit 1
fi
