# Mask accuracy of a checkpoint: ground-truth masks, only the class decision counts. To be sourced:
#   source eval_mask_acc.sh; eval_mask_acc CONFIG CKPT NGPU TAG USE_PSM [KEY VALUE ...]
# USE_PSM 1 is the trained head; 0 is plain CLIP similarity (with CKPT '' the original CLIP).

source "$(dirname "${BASH_SOURCE[0]}")/tools/eval_common.sh"

# _maskclippp_mask_acc GENERATOR SUFFIX TEST_SET CONFIG CKPT NGPU TAG USE_PSM [KEY VALUE ...]
# An empty TEST_SET keeps the config's; another one comes last, so it wins.
_maskclippp_mask_acc() {
    local generator="$1" suffix="$2" test_set="$3" fixed last=()
    shift 3
    if [ $# -lt 5 ]; then
        echo "usage: ${FUNCNAME[1]} CONFIG CKPT NGPU TAG USE_PSM(0|1) [KEY VALUE ...]" >&2
        return 2
    fi
    fixed=(
        MODEL.MASKCLIPPP.TEST.ENSEMBLE_ON False
        MODEL.MASKCLIPPP.TEST.MASK_ACC True
        MODEL.MASKCLIPPP.SEGMENTOR.NAME "$generator"
        MODEL.MASKCLIPPP.VISUAL_ENCODER_F.NAME DummyVisualEncoder
        MODEL.MASKCLIPPP.TEXT_ENCODER_F.NAME none
    )
    [ "$5" = 1 ] || fixed+=(MODEL.MASKCLIPPP.PSM.NAME DummyPSM MODEL.MASKCLIPPP.USE_LOGIT_SCALE True)
    [ -z "$test_set" ] || last=(DATASETS.TEST "(\"$test_set\",)")
    _maskclippp_eval "$suffix" "${fixed[@]}" -- "${@:1:4}" "${@:6}" "${last[@]}"
}

eval_mask_acc() { _maskclippp_mask_acc GTSegmentor "" "" "$@"; }
eval_pan_mask_acc() { _maskclippp_mask_acc PanGTSegmentor "" "" "$@"; }

eval_mask_acc_ade150() { _maskclippp_mask_acc GTSegmentor _ade150 "" "$@"; }
eval_mask_acc_stuff() { _maskclippp_mask_acc GTSegmentor _stuff openvocab_coco_2017_val_stuff_sem_seg "$@"; }
eval_pan_mask_acc_coco() { _maskclippp_mask_acc PanGTSegmentor _coco openvocab_coco_2017_val_panoptic_with_sem_seg "$@"; }
eval_mask_acc_ade847() { _maskclippp_mask_acc GTSegmentor _ade847 openvocab_ade20k_full_sem_seg_val "$@"; }
eval_mask_acc_ctx459() { _maskclippp_mask_acc GTSegmentor _ctx459 openvocab_pascal_ctx459_sem_seg_val "$@"; }
eval_mask_acc_ctx59() { _maskclippp_mask_acc GTSegmentor _ctx59 openvocab_pascal_ctx59_sem_seg_val "$@"; }
eval_mask_acc_pc20() { _maskclippp_mask_acc GTSegmentor _pc20 openvocab_pascal20_sem_seg_val "$@"; }
eval_mask_acc_city() { _maskclippp_mask_acc GTSegmentor _city openvocab_cityscapes_fine_panoptic_val "$@"; }

# The 22 sets of the MESS benchmark.
eval_mask_acc_dark_zurich() { _maskclippp_mask_acc GTSegmentor _dark_zurich dark_zurich_sem_seg_val "$@"; }
eval_mask_acc_foodseg() { _maskclippp_mask_acc GTSegmentor _foodseg foodseg103_sem_seg_test "$@"; }
eval_mask_acc_mhp() { _maskclippp_mask_acc GTSegmentor _mhp mhp_v1_sem_seg_test "$@"; }
eval_mask_acc_kvasir() { _maskclippp_mask_acc GTSegmentor _kvasir kvasir_instrument_sem_seg_test "$@"; }
eval_mask_acc_pst900() { _maskclippp_mask_acc GTSegmentor _pst900 pst900_sem_seg_test "$@"; }
eval_mask_acc_corrosion() { _maskclippp_mask_acc GTSegmentor _corrosion corrosion_cs_sem_seg_test "$@"; }
eval_mask_acc_zerowaste() { _maskclippp_mask_acc GTSegmentor _zerowaste zerowaste_sem_seg_test "$@"; }
eval_mask_acc_cub200() { _maskclippp_mask_acc GTSegmentor _cub200 cub_200_sem_seg_test "$@"; }
eval_mask_acc_bdd100k() { _maskclippp_mask_acc GTSegmentor _bdd100k bdd100k_sem_seg_val "$@"; }
eval_mask_acc_atlantis() { _maskclippp_mask_acc GTSegmentor _atlantis atlantis_sem_seg_test "$@"; }
eval_mask_acc_dram() { _maskclippp_mask_acc GTSegmentor _dram dram_sem_seg_test "$@"; }
eval_mask_acc_isaid() { _maskclippp_mask_acc GTSegmentor _isaid isaid_sem_seg_val "$@"; }
eval_mask_acc_chase_db1() { _maskclippp_mask_acc GTSegmentor _chase_db1 chase_db1_sem_seg_test "$@"; }
eval_mask_acc_suim() { _maskclippp_mask_acc GTSegmentor _suim suim_sem_seg_test "$@"; }
eval_mask_acc_paxray() { _maskclippp_mask_acc GTSegmentor _paxray paxray_sem_seg_test_lungs "$@"; }
eval_mask_acc_isprs() { _maskclippp_mask_acc GTSegmentor _isprs isprs_potsdam_sem_seg_test_irrg "$@"; }
eval_mask_acc_cryonuseg() { _maskclippp_mask_acc GTSegmentor _cryonuseg cryonuseg_sem_seg_test "$@"; }
eval_mask_acc_deepcrack() { _maskclippp_mask_acc GTSegmentor _deepcrack deepcrack_sem_seg_test "$@"; }
eval_mask_acc_floodnet() { _maskclippp_mask_acc GTSegmentor _floodnet floodnet_sem_seg_test "$@"; }
eval_mask_acc_cwfid() { _maskclippp_mask_acc GTSegmentor _cwfid cwfid_sem_seg_test "$@"; }
eval_mask_acc_worldfloods() { _maskclippp_mask_acc GTSegmentor _worldfloods worldfloods_sem_seg_test_irrg "$@"; }
eval_mask_acc_uavid() { _maskclippp_mask_acc GTSegmentor _uavid uavid_sem_seg_val "$@"; }

# The sets that the ablations report.
eval_mask_acc_base() {
    eval_mask_acc_ade150 "$@" && eval_mask_acc_ade847 "$@" && eval_mask_acc_ctx459 "$@" && eval_mask_acc_ctx59 "$@" \
        && eval_mask_acc_stuff "$@"
}

# The MESS sets that are on disk, then one table with the mean of each domain.
eval_mask_acc_mess() { _maskclippp_everything eval_mask_acc mess mask-accuracy 6 "$@"; }
