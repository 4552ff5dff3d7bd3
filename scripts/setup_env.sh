#!/usr/bin/env bash
# Makes .venv from requirements.lock and installs this package into it. Called by `make .venv/ready`.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

# Prints the path of a Python 3.10 that runs and has its C headers. A pyenv shim may be on PATH without running. The
# headers are for pyfarmhash, which TensorFlow Data Validation needs and which is built from source.
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
  say "polyvit needs uv to install its locked packages, but could neither find it nor install it with pip."
  say "Install uv (pip install uv) or Python 3.10 with its venv module (Debian: apt-get install python3-venv). Then run make again."
  exit 2
fi
if [ -z "$python" ] && ! "$uv" python install 3.10 >&2; then
  say "polyvit needs Python 3.10 with its C headers, but there is none on PATH or under pyenv, and uv could not fetch one."
  say "Install it (pyenv install 3.10, or your system's packages python3.10 and python3.10-dev). Then run make again."
  exit 2
fi

say "Installing the locked packages into .venv (about 2 minutes the first time) ..."
rm -rf .venv
"$uv" venv -q --python "${python:-3.10}" .venv
export VIRTUAL_ENV=$PWD/.venv
if ! command -v c++ >/dev/null 2>&1 && [ -z "${CXX:-}" ]; then
  say "There is no C++ compiler here. Using one from the package index while packages are built ..."
  compiler=$PWD/.bootstrap/compiler
  trap 'rm -rf "$compiler"' EXIT
  "$uv" pip install -q --require-hashes -r scripts/compiler.lock --target "$compiler"
  export ZIG_GLOBAL_CACHE_DIR=$compiler/cache ZIG_LOCAL_CACHE_DIR=$compiler/cache
  # Only instructions that every x86-64 processor has, as other compilers do by default, because uv caches what is built.
  export CC="'$compiler/ziglang/zig' c++ -mcpu=baseline"
  export CXX=$CC LDSHARED="$CC -shared"
fi
"$uv" pip install -q --require-hashes --compile-bytecode -r requirements.lock
# setuptools is in the lock, so the editable install needs no build isolation, which would resolve packages again.
# A plain path entry (compat): the import hook that is the default loses to a folder named polyvit, such as this clone's,
# in the folder where Python starts.
"$uv" pip install -q --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
touch .venv/ready
