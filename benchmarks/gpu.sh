#!/usr/bin/env bash
# What a GPU is to show. Give it again until it says "done": every part is kept, and each call ends within ten minutes.
# Usage: benchmarks/gpu.sh DATASET TOKENIZER [OUT]      (Toys as a dataset folder, a folder with T5's tokenizer.json)
set -euo pipefail
dataset=$1 tokenizer=$2 out=${3:-runs/gpu}
limit=$((SECONDS + ${VIP5_SECONDS:-570}))
mkdir -p "$out"

part() { # part FILE COMMAND …: what leaves FILE, unless it is there; stopped in time, it goes on at the next call
  local file=$1
  shift
  [ -e "$out/$file" ] && return
  local left=$((limit - SECONDS))
  ((left > 20)) || { echo "go on: benchmarks/gpu.sh $dataset $tokenizer $out"; exit 0; }
  timeout --signal=INT "$left" "$@" || { [ $? -eq 124 ] && echo "go on: benchmarks/gpu.sh $dataset $tokenizer $out" && exit 0; exit 1; }
}

part data.json vip5 bench data "$dataset" --tokenizer "$tokenizer" --out "$out/data.json"
part train.json vip5 bench train "$dataset" --tokenizer "$tokenizer" --device cuda --samples 144 --out "$out/train.json"
part decode.json vip5 bench decode "$dataset" --tokenizer "$tokenizer" --device cuda --users 2048 --out "$out/decode.json"
# Loss curves of both precisions: one epoch each, same samples; metrics.jsonl holds the losses step by step.
for precision in bf16 fp32; do
  part "$precision/run.json" python benchmarks/ten_epochs.py "$dataset" "$out/$precision" --tokenizer "$tokenizer" --precision "$precision" --epochs 1
done
part ten/run.json python benchmarks/ten_epochs.py "$dataset" "$out/ten" --tokenizer "$tokenizer"
echo done
