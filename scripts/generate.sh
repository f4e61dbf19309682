#!/bin/sh
# Generates the typed stubs and the descriptor image from proto/ into gen/, or into another directory of that name.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.tools/node_modules/node/bin:$PATH"
out=${1:-gen}
node_modules/.bin/buf generate --output "$(dirname "$out")"
node_modules/.bin/buf build -o "$out/image.binpb"
