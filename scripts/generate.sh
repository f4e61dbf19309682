#!/bin/sh
# Generates the typed stubs and the descriptor image from proto/ into gen/ (or into the directory given).
set -eu
cd "$(dirname "$0")/.."
out=${1:-gen}
export PATH="$PWD/.tools/node_modules/node/bin:$PATH"
node_modules/.bin/buf generate --output "$(dirname "$out")" --template buf.gen.yaml
node_modules/.bin/buf build -o "$out/image.binpb"
