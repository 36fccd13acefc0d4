#!/usr/bin/env bash
# What a GPU has to confirm, without Node, in ten minutes: conformance of the instructions, every kernel against the
# CPU, equal bits in 250 repetitions, compute-sanitizer where there is one, benchmarks.
#
# scripts/gpu.sh [tests] [bench]        both by default
# BUILD: a folder with gpu_conformance, gpu_kernels and gpu_bench (build); where one is missing it is made, by nvcc.
# OUT: receives a log of each stage and results.json (build/gpu). SECONDS_SCALE: multiplies the time limits (1).
# The last line is `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build} out=${OUT:-build/gpu} scale=${SECONDS_SCALE:-1}
wanted=${*:-tests bench}
passed=0 failed=0 skipped=0
mkdir -p "$out"

# stage NAME SECONDS COMMAND…: a log, its summary, and as many checks as its last `N passed, N failed` says.
stage() {
  local name=$1 limit=$(($2 * scale)) log="$out/$1.log" start=$SECONDS status=0 summary
  shift 2
  timeout "$limit" "$@" >"$log" 2>&1 || status=$?
  summary=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
  if [[ "$summary" =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
    [[ $status -ne 0 && ${BASH_REMATCH[2]} -eq 0 ]] && failed=$((failed + 1))
  elif [[ $status -eq 0 ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
  [[ $status -eq 124 ]] && summary="$summary (stopped after $limit s)"
  echo "== $name: ${summary:-exit status $status}, $((SECONDS - start)) s"
  grep -E '^(FAIL|skip)|=========.*(ERROR|Error|hazard)' "$log" | head -n 20
}

# Shards of the kernel cases, each a process: the CPU's side takes most of the time.
shards() {
  local count=$1 statuses=0 i
  shift
  local logs=()
  for ((i = 1; i <= count; i++)); do
    logs[i]=$(mktemp)
    "$build/gpu_kernels" --shard "$i/$count" "$@" >"${logs[i]}" 2>&1 &
  done
  for ((i = 1; i <= count; i++)); do wait -n || statuses=1; done
  cat "${logs[@]}" | grep -vE '^[0-9]+ passed'
  cat "${logs[@]}" | awk '/^[0-9]+ passed/ { p += $1; f += $3 } END { printf "%d passed, %d failed\n", p, f }'
  rm -f "${logs[@]}"
  return $statuses
}
export -f shards
export build

make_programs() {
  local missing=()
  for program in "$@"; do [[ -x "$build/$program" ]] || missing+=("$program"); done
  [[ ${#missing[@]} -eq 0 ]] && return
  echo "building ${missing[*]}"
  LOWRANK_CUDA=1 cmake -S . -B "$build" >"$out/build.log" 2>&1 &&
    cmake --build "$build" --target "${missing[@]}" -j "$(nproc)" >>"$out/build.log" 2>&1 ||
    { tail -n 20 "$out/build.log"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }
}

if ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
  echo 'skip: no NVIDIA GPU on this machine'
  echo '0 passed, 0 failed, 1 skipped'
  exit 0
fi
nvidia-smi --query-gpu=name,driver_version,clocks.sm,power.limit --format=csv,noheader | tee "$out/gpu.txt"

if [[ " $wanted " == *' tests '* ]]; then
  make_programs gpu_conformance gpu_kernels
  jobs=$(($(nproc) > 8 ? 8 : $(nproc)))
  stage conformance 40 "$build/gpu_conformance"
  stage kernels 100 bash -c "shards $jobs --seeds 4"
  stage determinism 100 bash -c "shards $jobs --seeds 1 --first 11 --repeat 250"
  sanitizer=$(command -v compute-sanitizer || ls "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer" 2>/dev/null)
  if [[ -n "$sanitizer" ]]; then
    for tool in memcheck racecheck synccheck; do
      stage "$tool" 45 "$sanitizer" --tool "$tool" --error-exitcode 9 "$build/gpu_kernels" --seeds 1
    done
  else
    echo 'skip: no compute-sanitizer'
    skipped=$((skipped + 1))
  fi
fi

if [[ " $wanted " == *' bench '* ]]; then
  make_programs gpu_bench
  stage bench 170 "$build/gpu_bench" --out "$out/results.json"
  sed -n '/^| what/,$p' "$out/bench.log"
  if [[ -s "$out/results.json" ]]; then
    name=$(head -n 1 "$out/gpu.txt" | cut -d, -f1 | tr 'A-Z ' 'a-z-')
    mkdir -p bench/results && cp "$out/results.json" "bench/results/$name.json" && echo "bench/results/$name.json"
  fi
fi

echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
