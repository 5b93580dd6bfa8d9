"""Every config key with its default: detectron2's keys, then one function per node of ours.

Published config files load unchanged, so keys that nothing reads any more are accepted too; they are marked "unread".
"""

from __future__ import annotations

from detectron2.config import CfgNode, get_cfg

CLIP_PIXEL_MEAN = [122.7709383, 116.7460125, 104.09373615]
CLIP_PIXEL_STD = [68.5005327, 66.6321579, 70.32316305]


def default_config() -> CfgNode:
    """Return a new config that holds every known key with its default."""
    cfg = get_cfg()
    cfg.MODEL.MASKCLIPPP = _maskclippp()
    cfg.MODEL.MASK_FORMER = _mask_former()
    cfg.MODEL.SWIN = _swin()
    cfg.MODEL.FC_CLIP = _fc_clip()
    _extend_sem_seg_head(cfg.MODEL.SEM_SEG_HEAD)
    _extend_resnets(cfg.MODEL.RESNETS)
    _add_maft_plus(cfg.MODEL)
    cfg.DATASETS.ALLOW_INCOMPLETE = False  # go on with a dataset of which files are missing; results are marked
    _extend_input(cfg.INPUT)
    _extend_solver(cfg.SOLVER)
    _extend_test(cfg.TEST)
    cfg.WANDB = _wandb()
    cfg.RUN_DEMO = False
    return cfg


def _maskclippp() -> CfgNode:
    """MODEL.MASKCLIPPP: the parts of the MaskCLIPpp meta-architecture."""
    node = CfgNode()
    node.VISUAL_ENCODER = _visual_encoder(feature_suffix="")
    node.VISUAL_ENCODER_F = _visual_encoder(feature_suffix="_f")
    node.TEXT_ENCODER = _text_encoder()
    node.TEXT_ENCODER_F = _text_encoder()
    node.SEGMENTOR = _segmentor()
    node.PSM = _psm()
    node.CRITERION = _criterion()
    node.TEST = _maskclippp_test()
    node.USE_LOGIT_SCALE = False
    node.TEMPLATES = "t14"
    node.TEMPLATES_F = "t14"
    node.TEXT_CHUNK_SIZE = 512
    return node


def _visual_encoder(feature_suffix: str) -> CfgNode:
    """VISUAL_ENCODER (tuned, no suffix) and VISUAL_ENCODER_F (frozen, feeds the mask generator)."""
    node = CfgNode()
    node.NAME = "none"
    node.MODEL_NAME = ""
    node.PRETRAINED = ""
    node.LOAD_FROM = ""
    node.LOAD_BEG_KEY = ""
    node.OUT_FEATURES = []
    node.FEATURE_SUFFIX = feature_suffix
    node.FINETUNE_TYPE = "none"
    node.GRAD_CHECKPOINTING = False
    node.COMPILE = False
    node.PIXEL_MEAN = list(CLIP_PIXEL_MEAN)
    node.PIXEL_STD = list(CLIP_PIXEL_STD)
    node.SIZE_DIVISIBILITY = 0
    node.IMAGE_SIZE = 640
    node.IMAGE_SCALE = 1.0
    node.RESIZE_TYPE = "none"
    node.TEST_IMAGE_SIZE = 640
    node.TEST_IMAGE_SCALE = 1.0
    node.TEST_RESIZE_TYPE = "none"
    node.MASK_POLICY = "SoftBias"
    node.MASK_PRIOR_BEG = 0
    node.DOWNSAMPLE_METHOD = "bilinear"
    node.DOWN_MASK_THRESH = 0.0
    node.MASK_SCALE = 1.0
    node.MASK_BIAS = 0.0
    node.MASK_LOGIT_SCALE = 0.0
    node.LEARNABLE_MASK_LOGIT_SCALE = False
    return node


def _text_encoder() -> CfgNode:
    """TEXT_ENCODER and TEXT_ENCODER_F (the generator's own text classifier)."""
    node = CfgNode()
    node.NAME = "none"
    node.MODEL_NAME = ""
    node.PRETRAINED = ""
    node.LOAD_FROM = ""
    node.LOAD_BEG_KEY = ""
    node.FINETUNE_TYPE = "none"
    node.GRAD_CHECKPOINTING = False
    node.SKIP_LN_FINAL = False
    return node


def _segmentor() -> CfgNode:
    """SEGMENTOR: the mask generator."""
    node = CfgNode()
    node.NAME = "FCCLIPSegmentor"
    node.PRETRAINED = ""
    node.IN_FEATURES = ["stage1_f", "stage2_f", "stage3_f", "stage4_f"]
    node.TRANSFORMER_IN_FEATURES = ["stage2_f", "stage3_f", "stage4_f"]
    node.OFFLINE_ANN_DIR = ""
    node.OFFLINE_ANN_SUFFIX = ""
    return node


def _psm() -> CfgNode:
    """PSM: the similarity head."""
    node = CfgNode()
    node.NAME = "CorrelationDecoderV1"  # published default that no class has: every config sets the name
    node.INIT = "published"  # of the maps along the templates: random, of either sign; "template_mean": their mean
    node.CORR_WIDTH = 640
    node.NUM_HEADS = 8
    node.IN_FEATURES = []
    node.DETACH_VISUAL_COND = False
    node.NORM_VISUAL_COND = False
    node.CORR_RESIDUAL = False
    node.USE_LOGIT_SCALE = False
    node.ATTENTION_PROBS_DROPOUT_PROB = 0.0
    node.HIDDEN_DROPOUT_PROB = 0.0
    return node


def _criterion() -> CfgNode:
    """CRITERION: the training loss."""
    node = CfgNode()
    node.NAME = "ReweightCELoss"
    node.TEMPERATURE = 1.0
    node.BALANCE_CLS = False
    node.IGNORE_NAN = False
    node.IGNORE_EMPTY = False
    node.IGNORE_INDEX = -100
    return node


def _maskclippp_test() -> CfgNode:
    """MODEL.MASKCLIPPP.TEST: ensemble with the generator's logits, and evaluation modes."""
    node = CfgNode()
    node.ENSEMBLE_ON = False
    node.GEOMETRIC_ENSEMBLE_ALPHA = 1.0
    node.GEOMETRIC_ENSEMBLE_BETA = 1.0
    node.ENSEMBLE_ON_VALID_MASK = 0.0
    node.UNCOVERED = "auto"  # pixels under no mask: "void" predictions, "argmax" as published; by the generator
    node.SEGMENTOR_ONLY = False
    node.MASK_ACC = False
    return node


def _mask_former() -> CfgNode:
    """MODEL.MASK_FORMER: queries and decoder of Mask2Former-type generators, and the test tasks of all methods."""
    node = CfgNode()
    node.DEEP_SUPERVISION = True
    node.NO_OBJECT_WEIGHT = 0.1
    node.CLASS_WEIGHT = 1.0
    node.DICE_WEIGHT = 1.0
    node.MASK_WEIGHT = 20.0
    node.NHEADS = 8
    node.DROPOUT = 0.1
    node.DIM_FEEDFORWARD = 2048
    node.ENC_LAYERS = 0  # unread
    node.DEC_LAYERS = 6
    node.PRE_NORM = False
    node.HIDDEN_DIM = 256
    node.NUM_OBJECT_QUERIES = 100
    node.TRANSFORMER_IN_FEATURE = "res5"
    node.ENFORCE_INPUT_PROJ = False
    node.SIZE_DIVISIBILITY = 32
    node.TRANSFORMER_DECODER_NAME = "MultiScaleMaskedTransformerDecoder"
    node.TRAIN_NUM_POINTS = 112 * 112
    node.OVERSAMPLE_RATIO = 3.0
    node.IMPORTANCE_SAMPLE_RATIO = 0.75
    node.TEST = CfgNode()
    node.TEST.SEMANTIC_ON = True
    node.TEST.INSTANCE_ON = False
    node.TEST.PANOPTIC_ON = False
    node.TEST.OBJECT_MASK_THRESHOLD = 0.0
    node.TEST.OVERLAP_THRESHOLD = 0.0
    node.TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE = False
    node.TEST.INSTANCE_BOX_ON = False
    return node


def _swin() -> CfgNode:
    """MODEL.SWIN: read only by the Swin backbone."""
    node = CfgNode()
    node.PRETRAIN_IMG_SIZE = 224
    node.PATCH_SIZE = 4
    node.EMBED_DIM = 96
    node.DEPTHS = [2, 2, 6, 2]
    node.NUM_HEADS = [3, 6, 12, 24]
    node.WINDOW_SIZE = 7
    node.MLP_RATIO = 4.0
    node.QKV_BIAS = True
    node.QK_SCALE = None
    node.DROP_RATE = 0.0
    node.ATTN_DROP_RATE = 0.0
    node.DROP_PATH_RATE = 0.3
    node.APE = False
    node.PATCH_NORM = True
    node.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    node.USE_CHECKPOINT = False
    return node


def _fc_clip() -> CfgNode:
    """MODEL.FC_CLIP: keys of FC-CLIP's and MAFT+'s own configs."""
    node = CfgNode()
    node.CLIP_MODEL_NAME = "convnext_large_d_320"
    node.CLIP_PRETRAINED_WEIGHTS = "laion2b_s29b_b131k_ft_soup"
    node.EMBED_DIM = 768
    node.GEOMETRIC_ENSEMBLE_ALPHA = 0.4
    node.GEOMETRIC_ENSEMBLE_BETA = 0.8
    node.ENSEMBLE_ON_VALID_MASK = False
    return node


def _add_maft_plus(node: CfgNode) -> None:
    """MODEL keys of MAFT+ (its own spelling)."""
    node.rc_weights = None
    node.cdt_params = [768, 8]
    node.relu = "relu"  # unread


def _extend_sem_seg_head(node: CfgNode) -> None:
    """MODEL.SEM_SEG_HEAD: pixel decoder of the generators."""
    node.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES = ["res3", "res4", "res5"]
    node.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS = 4  # unread
    node.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS = 8  # unread
    node.TRANSFORMER_ENC_LAYERS = 0
    node.MASK_DIM = 256
    node.PIXEL_DECODER_NAME = "BasePixelDecoder"


def _extend_resnets(node: CfgNode) -> None:
    """MODEL.RESNETS: keys that published files carry (inherited from DeepLab)."""
    node.STEM_TYPE = "basic"  # unread
    node.RES5_MULTI_GRID = [1, 2, 4]  # unread


def _extend_input(node: CfgNode) -> None:
    """INPUT: dataset mapper, large-scale jitter, colour augmentation, crop."""
    node.DATASET_MAPPER_NAME = "mask_former_semantic"
    node.COLOR_AUG_SSD = False
    node.SIZE_DIVISIBILITY = -1
    node.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0
    node.IMAGE_SIZE = 1024
    node.MIN_SCALE = 0.1
    node.MAX_SCALE = 2.0


def _extend_solver(node: CfgNode) -> None:
    """SOLVER: AdamW with learning rates per part, and the end of the cosine."""
    node.OPTIMIZER = "ADAMW"
    node.ACCUMULATION_STEPS = 1  # parts of a batch in each process, one after the other; same gradient, less memory
    node.WEIGHT_DECAY_EMBED = 0.0
    node.BACKBONE_MULTIPLIER = 0.1
    node.VISUAL_ENCODER_MULTIPLIER = 0.001
    node.TEXT_ENCODER_MULTIPLIER = 0.001
    node.BASE_LR_END = 0.0
    node.POLY_LR_POWER = 0.9
    node.POLY_LR_CONSTANT_ENDING = 0.0
    node.AMP.DTYPE = "float16"


def _extend_test(node: CfgNode) -> None:
    """TEST: what evaluation does and writes besides scores."""
    node.SAVE_STATE_SECONDS = 60.0  # an interrupted evaluation goes on from its last saved state; 0: starts over
    node.PICTURES = 0  # draw the confusion of classes, and so many of the images with the lowest score
    node.SAVE_PREDICTIONS = False  # label maps, panoptic segments
    node.SIMILARITY_SCORES = False  # Open mIoU, PQ, AP: wrong labels count in part, by text similarity


def _wandb() -> CfgNode:
    """WANDB: tracking of a run; WANDB_MODE=offline in the environment keeps it on this machine."""
    node = CfgNode()
    node.ENABLED = False
    node.PROJECT = "maskclippp"
    node.NAME = None
    return node
