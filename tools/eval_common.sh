# What eval_all.sh and eval_mask_acc.sh share; to be sourced by them.
# PYTHON names the interpreter (default: python). Output goes to output/<config name>/<tag> below the working folder.

_MASKCLIPPP_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

_MASKCLIPPP_TABLE="$_MASKCLIPPP_ROOT/maskclippp/evaluation/benchmarks.tsv"

# _maskclippp_row SUFFIX COLUMN
# Print the dataset of a set of the table, and what the function of COLUMN (eval, GTSegmentor, PanGTSegmentor) adds.
_maskclippp_row() {
    local kind suffix title dataset eval with_classes with_segments added
    while IFS=$'\t' read -r kind suffix title dataset eval with_classes with_segments; do
        [ "$kind $suffix" = "set $1" ] || continue
        case "$2" in
            eval) added="$eval" ;;
            GTSegmentor) added="$with_classes" ;;
            PanGTSegmentor) added="$with_segments" ;;
        esac
        echo "$dataset $added"
        return
    done < "$_MASKCLIPPP_TABLE"
    echo "error: $_MASKCLIPPP_TABLE has no set '$1'" >&2
    return 1
}

# _maskclippp_suite NAME
# Print the suffixes of a suite of the table.
_maskclippp_suite() {
    local kind name functions suffixes
    while IFS=$'\t' read -r kind name functions suffixes; do
        [ "$kind $name" != "suite $1" ] || echo "$suffixes"
    done < "$_MASKCLIPPP_TABLE"
}

# _maskclippp_usage ARGUMENTS
# Say how the function that was called from outside is called.
_maskclippp_usage() {
    local name
    for name in "${FUNCNAME[@]}"; do
        case "$name" in eval_*) break ;; esac
    done
    echo "usage: $name $1" >&2
}

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
        _maskclippp_usage "CONFIG CKPT NGPU TAG [KEY VALUE ...]"
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
        _maskclippp_usage "CONFIG CKPT NGPU TAG $([ "$first" = 5 ] || echo 'USE_PSM(0|1) ')[KEY VALUE ...]"
        return 2
    fi
    found="$("${tool[@]}" list "$sets")" || return
    for name in $found; do
        "${prefix}_$name" "$@" || failed+=("$name")
    done
    "${tool[@]}" table "$table" "$1" "$4" --failed "${failed[*]}" --opts "${@:$first}" && [ ${#failed[@]} = 0 ]
}
