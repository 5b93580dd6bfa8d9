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
