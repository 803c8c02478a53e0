#!/usr/bin/env bash
# curl against a server of noisefloor: health, metadata, JSON and binary inference, pictures, errors.
#   serving_curl.sh http://localhost:8080 MODEL PICTURE
set -euo pipefail
url=$1 model=$2 picture=$3
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
checks=0

# expect STATUS PATTERN CURL-ARGUMENTS...
expect() {
  local status=$1 pattern=$2; shift 2
  local got; got=$(curl -sS -o "$work/body" -w '%{http_code}' "$@")
  if [ "$got" != "$status" ] || ! grep -aqE "$pattern" "$work/body"; then
    echo "failed: $* gave $got: $(head -c 300 "$work/body")" >&2; exit 1
  fi
  checks=$((checks + 1)); echo "ok: $status ${*: -1}"
}

expect 200 '"live":true' "$url/v2/health/live"
expect 200 '"ready":true' "$url/v2/health/ready"
expect 200 '"name":"noisefloor"' "$url/v2"
expect 200 "\"name\":\"$model\"" "$url/v2/models/$model"
expect 200 '"ready":true' "$url/v2/models/$model/ready"
shape=$(curl -sS "$url/v2/models/$model" | grep -oE '"shape":\[-1[0-9,]*\]' | head -1 | sed 's/.*-1,//; s/]//')
size=$(( ${shape//,/*} ))
zeros=$(head -c "$size" /dev/zero | tr '\0' '0' | sed 's/./0,/g; s/,$//')

json="{\"inputs\":[{\"name\":\"input\",\"shape\":[1,$shape],\"datatype\":\"UINT8\",\"data\":[$zeros]}],\"parameters\":{\"time_steps\":2}}"
expect 200 '"name":"steps","datatype":"INT32","shape":\[1\],"data":\[2\]' -d "$json" "$url/v2/models/$model/infer"
grep -aoE '"logits"[^]]*][^]]*]' "$work/body" > "$work/from-json"

head="{\"inputs\":[{\"name\":\"input\",\"shape\":[1,$shape],\"datatype\":\"UINT8\",\"parameters\":{\"binary_data_size\":$size}}],\"parameters\":{\"time_steps\":2}}"
{ printf '%s' "$head"; head -c "$size" /dev/zero; } > "$work/binary"
expect 200 '"logits"' -H "Inference-Header-Content-Length: ${#head}" --data-binary "@$work/binary" "$url/v2/models/$model/infer"
grep -aoE '"logits"[^]]*][^]]*]' "$work/body" | cmp - "$work/from-json"
head -c $((4 * size)) /dev/zero > "$work/raw"
expect 200 '"binary_data_size"' -H 'Inference-Header-Content-Length: 0' --data-binary "@$work/raw" "$url/v2/models/$model/infer"

expect 200 '"classes":\[\{"label"' --data-binary "@$picture" "$url/v1/classify?model=$model&top_k=2"
expect 200 '"classes":\[\{"label"' -F "image=@$picture" "$url/v1/classify?model=$model"
expect 200 'noisefloor_images_total' "$url/metrics"
expect 200 '"openapi"' "$url/openapi.json"
expect 400 '"error":"The request is not JSON' -d '{' "$url/v2/models/$model/infer"
expect 404 '"error":"Unknown model' -d '{}' "$url/v2/models/none/infer"
expect 415 '"error":"The body is not a JPEG' -d 'text' "$url/v1/classify"
expect 404 '"error"' "$url/v2/../../etc/passwd" --path-as-is
echo "$checks checks"
