#!/usr/bin/env bash
# The dataset folders that the results are of, from the tables as they come; what is there is left as it is.
# Usage: benchmarks/datasets.sh TABLES RESNET50 OUT [SET …]
# TABLES holds amazon2014/, hm/, ml-1m/ and rt-critics/; RESNET50 is a ResNet-50 in the format of transformers.
set -euo pipefail
tables=$1 encoder=$2 out=$3
shift 3
vip5=${VIP5:-vip5}

prepare() { # NAME KIND ARGUMENTS…
  [ -f "$out/$1/manifest.json" ] || $vip5 data "$2" "$out/$1" --name "$1" "${@:3}"
}

of_shop() { # NAME SOURCE ARGUMENTS…: interactions, items and photos
  prepare "$1" prepare --interactions "$tables/$2/interactions.parquet" --items "$tables/$2/items.parquet" "${@:3}"
}

photos() { $vip5 data encode "$out/$1" --modality photo --encoder "$encoder" --device cpu; }

make_set() {
  case $1 in
    beauty | toys | clothing) of_shop "$1" "amazon2014/$1" ;;
    sports) of_shop sports amazon2014/sports --map attributes=categories ;;
    hm) of_shop hm hm --images "$tables/hm" --k-core 5 && photos hm ;;
    hm-time) of_shop hm-time hm --images "$tables/hm" --k-core 5 --split time && photos hm-time ;;
    ml-1m) of_shop ml-1m ml-1m --images "$tables/ml-1m" && photos ml-1m ;;
    ml-1m-time) of_shop ml-1m-time ml-1m --images "$tables/ml-1m" --split time ;;
    rt-critics)
      local place=$tables/rt-critics
      prepare rt-critics prepare --reviews "$place/reviews.parquet" --items "$place/items.parquet" \
        --explanations "$place/explanations.parquet" --images "$place" --split time --k-core 5
      ;;
    musical)
      local place=$tables/amazon2014/musical_instruments
      prepare musical amazon --reviews "$place/reviews_Musical_Instruments_5.json.gz" \
        --explanations "$place/explanations.parquet" --split time
      ;;
    *) echo "no set $1" >&2 && exit 2 ;;
  esac
}

for name in "${@:-beauty sports toys clothing hm hm-time ml-1m ml-1m-time rt-critics musical}"; do
  for set in $name; do make_set "$set"; done
done
