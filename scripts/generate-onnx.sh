#!/usr/bin/env bash
# Regenerates src/onnx/onnx_pb.ts from src/onnx/onnx.proto (the file of the ONNX
# project, unchanged). Needed only when onnx.proto is replaced by a newer one.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cp src/onnx/onnx.proto "$work/"
cd "$work"
npm init -y >/dev/null
npm install --silent @bufbuild/buf@1 @bufbuild/protoc-gen-es@2 @bufbuild/protobuf@2
cat > buf.gen.yaml <<'YAML'
version: v2
inputs: [{directory: .}]
plugins: [{local: protoc-gen-es, out: out, opt: [target=ts, import_extension=js]}]
YAML
PATH="$work/node_modules/.bin:$PATH" buf generate --exclude-path node_modules
cp out/onnx_pb.ts "$OLDPWD/src/onnx/onnx_pb.ts"
