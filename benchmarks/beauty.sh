#!/usr/bin/env bash
# Beauty (Amazon 2014, 5-core), nano from scratch, codes atomic, text only: next item over the whole catalogue.
# Usage: benchmarks/beauty.sh FOLDER_OF_BEAUTY [OUT]
set -euo pipefail
beauty=$1 out=${2:-runs/beauty}
[ -f "$out/data/manifest.json" ] || vip5 data prepare "$out/data" --name beauty \
  --interactions "$beauty/interactions.parquet" --items "$beauty/items.parquet"
[ -f "$out/run/run.json" ] || vip5 train "$out/data" --out "$out/run" --recipe prompts --config "$(dirname "$0")/beauty.toml" modalities.photo=none
vip5 evaluate "$out/run" --prompts A-3,A-9 --json benchmarks/results/beauty.json
