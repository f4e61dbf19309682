#!/bin/sh
# Generates the typed stubs and the descriptor image from proto/ into gen/, or below another directory.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.tools/node_modules/node/bin:$PATH"
base=${1:-.}
node_modules/.bin/buf generate --output "$base"
node_modules/.bin/buf build -o "$base/gen/image.binpb"
