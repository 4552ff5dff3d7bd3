#!/usr/bin/env bash
# Installs Debian's packages of programs that tests run, where they are missing and this may: as root, with apt-get.
# chromium shows the report, nginx is the proxy before a server of models, docker-compose parses serving/compose.yaml.
# `make test` calls it where CI is set. Without a program its tests skip themselves.
set -euo pipefail

if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  exit 0
fi
missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v docker-compose >/dev/null || missing+=(docker-compose)
[ -e /usr/share/nginx/modules/ngx_http_js_module.so ] || missing+=(nginx-light libnginx-mod-http-js)
if [ "${#missing[@]}" = 0 ]; then
  exit 0
fi
apt-get update -qq
# RUNLEVEL=1: Debian starts no nginx of its own.
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
