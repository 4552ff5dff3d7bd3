#!/usr/bin/env bash
# Prints the path of uv: the one on PATH, or else one that it installs into .bootstrap with PYTHON (any Python 3). Prints
# nothing if that fails.
#   scripts/find_uv.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."
if command -v uv; then exit; fi
python=${1:-$(command -v python3 || true)}
if [ ! -x .bootstrap/bin/uv ]; then
  [ -n "$python" ] && "$python" -m venv .bootstrap >&2 && .bootstrap/bin/python -m pip -q install uv >&2 || exit 0
fi
echo "$PWD/.bootstrap/bin/uv"
