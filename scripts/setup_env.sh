#!/usr/bin/env bash
# Makes .venv from requirements.lock and installs this package into it. `make .venv/ready` calls it.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

# A Python 3.10 that really runs (a pyenv shim on PATH exists even where its version is not selected).
find_python() {
  local candidate
  for candidate in python3.10 python3 python "$(pyenv prefix 3.10 2>/dev/null || true)/bin/python" \
      $(ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10*/bin/python 2>/dev/null); do
    if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = 3.10 ]; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
}

python=$(find_python)
uv=$(scripts/find_uv.sh $python)
if [ -z "$uv" ]; then
  say "polyvit needs uv to install its locked packages, and could neither find it nor install it with pip."
  say "Install uv (pip install uv), or Python 3.10 with its venv module (Debian: apt-get install python3-venv), and run make again."
  exit 2
fi
if [ -z "$python" ] && ! "$uv" python install 3.10 >&2; then
  say "polyvit needs Python 3.10: none is on PATH or under pyenv, and uv could not fetch one."
  say "Install it (pyenv install 3.10, or your system's python3.10 package), and run make again."
  exit 2
fi
python=${python:-3.10}

command -v c++ >/dev/null 2>&1 || {
  say "polyvit needs a C++ compiler (pyfarmhash, a package that TensorFlow Data Validation needs, is built from source)."
  say "Install one (Debian: apt-get install g++ python3-dev), and run make again."
  exit 2
}

say "Installing the locked packages into .venv (about 2 minutes the first time) ..."
rm -rf .venv
"$uv" venv -q --python "$python" .venv
export VIRTUAL_ENV=$PWD/.venv
"$uv" pip install -q --require-hashes --compile-bytecode -r requirements.lock
# setuptools is in the lock, so the editable install needs no build isolation, hence no second resolution.
"$uv" pip install -q --no-deps --no-build-isolation -e .
touch .venv/ready
