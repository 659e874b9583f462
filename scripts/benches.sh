#!/bin/sh
# Every bench behind the figures, from nothing: scripts/benches.sh PYTHON FOLDER.
# Started again it goes on where it was: nothing is asked twice. The aim is under three hours on two
# cores with the settings below; POOL, SIZES, TASKS, PROTOCOLS, LIMIT and SEEDS change them.
set -eu
python=$1
out=$2
: "${POOL:=embedded}" "${SIZES:=2,4,8}" "${LIMIT:=8}" "${SEEDS:=0,1}"
: "${TASKS:=addition,french,roman,spelling}"
: "${PROTOCOLS:=prompt_routing,cascade,majority_vote,multiagent_refine}"

# Exit code 1 says that some answers failed: they are counted in the results.
bench() {
    name=$1
    shift
    "$python" -m studio bench --pool "$POOL" --task "$TASKS" --protocol "$PROTOCOLS" \
        --limit "$LIMIT" --seeds "$SEEDS" --out "$out/$name" "$@" || test $? -eq 1
}

bench scaling --sizes "$SIZES"
bench orders --sizes 4 --orders 6 --no-baselines
bench settings --pools-of distinct,generations --pool-size 8 --no-baselines
bench worth --models "$("$python" -m studio models --pool "$POOL" --json | head -5 |
    sed 's/.*"id": "\([^"]*\)".*/\1/' | paste -sd, -)" --leave-one-out --no-baselines
"$python" -m studio score "$out/scaling" --metric diversity
"$python" -m studio safety --pool "$POOL" --protocol majority_vote,prompt_routing,cascade \
    --attack liar,choose_me --task "$TASKS" --limit 20
