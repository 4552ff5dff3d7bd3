#!/usr/bin/env bash
# Makes .venv from requirements.lock and installs this package into it. `make .venv/ready` calls it.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

# A Python 3.10 that really runs (a pyenv shim on PATH exists even where its version is not selected) and has its C headers
# (pyfarmhash, a package that TensorFlow Data Validation needs, is built from source).
find_python() {
  local candidate
  for candidate in python3.10 python3 python "$(pyenv prefix 3.10 2>/dev/null || true)/bin/python" \
      $(ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10*/bin/python 2>/dev/null); do
    "$candidate" 2>/dev/null - <<'PYTHON' && return
import os, sys, sysconfig
if sys.version_info[:2] != (3, 10) or not os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')):
    sys.exit(1)
print(sys.executable)
PYTHON
  done
}

python=$(find_python || true)
uv=$(scripts/find_uv.sh ${python:+"$python"})
if [ -z "$uv" ]; then
  say "polyvit needs uv to install its locked packages, and could neither find it nor install it with pip."
  say "Install uv (pip install uv), or Python 3.10 with its venv module (Debian: apt-get install python3-venv), and run make again."
  exit 2
fi
if [ -z "$python" ] && ! "$uv" python install 3.10 >&2; then
  say "polyvit needs Python 3.10 with its C headers: none is on PATH or under pyenv, and uv could not fetch one."
  say "Install it (pyenv install 3.10, or your system's python3.10 and python3.10-dev packages), and run make again."
  exit 2
fi

say "Installing the locked packages into .venv (about 2 minutes the first time) ..."
rm -rf .venv
"$uv" venv -q --python "${python:-3.10}" .venv
export VIRTUAL_ENV=$PWD/.venv
if ! command -v c++ >/dev/null 2>&1 && [ -z "${CXX:-}" ]; then
  say "There is no C++ compiler here: taking one from the package index for as long as it is needed ..."
  compiler=$PWD/.bootstrap/compiler
  trap 'rm -rf "$compiler"' EXIT
  "$uv" pip install -q --require-hashes -r scripts/compiler.lock --target "$compiler"
  export ZIG_GLOBAL_CACHE_DIR=$compiler/cache ZIG_LOCAL_CACHE_DIR=$compiler/cache
  # No finer instructions than every x86-64 has, as other compilers have it, since a built package is kept in uv's cache.
  export CC="'$compiler/ziglang/zig' c++ -mcpu=baseline"
  export CXX=$CC LDSHARED="$CC -shared"
fi
"$uv" pip install -q --require-hashes --compile-bytecode -r requirements.lock
# setuptools is in the lock, so the editable install needs no build isolation, hence no second resolution.
"$uv" pip install -q --no-deps --no-build-isolation -e .
touch .venv/ready
