# What eval_all.sh and eval_mask_acc.sh share; to be sourced by them.
# PYTHON names the interpreter (default: python). Output goes to output/<config name>/<tag> below the working folder.

_MASKCLIPPP_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# _maskclippp_eval SUFFIX [KEY VALUE ...] -- CONFIG CKPT NGPU TAG [KEY VALUE ...]
# Evaluate one checkpoint on one test set. Overrides after "--" come later, so they win. NGPU 0 is the CPU.
_maskclippp_eval() {
    local suffix="$1" fixed=()
    shift
    while [ "$1" != "--" ]; do
        fixed+=("$1")
        shift
    done
    shift
    if [ $# -lt 4 ]; then
        echo "usage: ${FUNCNAME[1]} CONFIG CKPT NGPU TAG [KEY VALUE ...]" >&2
        return 2
    fi
    "${PYTHON:-python}" "$_MASKCLIPPP_ROOT/train_maskclippp.py" --config-file "$1" --num-gpus "$3" --tag "$4$suffix" \
        --eval-only --dist-url auto MODEL.WEIGHTS "$2" "${fixed[@]}" "${@:5}"
}

# _maskclippp_everything PREFIX SETS TABLE FIRST CONFIG CKPT NGPU TAG [...]
# Run PREFIX_<set> for all SETS that are on disk and print one table; user options begin at argument FIRST.
_maskclippp_everything() {
    local prefix="$1" sets="$2" table="$3" first="$4" found name failed=()
    local tool=("${PYTHON:-python}" "$_MASKCLIPPP_ROOT/tools/summarize_results.py")
    shift 4
    if [ $# -lt $((first - 1)) ]; then
        echo "usage: ${FUNCNAME[1]} CONFIG CKPT NGPU TAG $([ "$first" = 5 ] || echo 'USE_PSM(0|1) ')[KEY VALUE ...]" >&2
        return 2
    fi
    found="$("${tool[@]}" list "$sets")" || return
    for name in $found; do
        "${prefix}_$name" "$@" || failed+=("$name")
    done
    "${tool[@]}" table "$table" "$1" "$4" --failed "${failed[*]}" --opts "${@:$first}" && [ ${#failed[@]} = 0 ]
}
