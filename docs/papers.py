"""Papers, and what of this library stands for each: the table at the top of "Every method".

Of a method the words are read from its card; other things have theirs in ``ABOUT``.
"""

from __future__ import annotations

from collections.abc import Iterator

from amkd_viz import experiments
from amkd_viz.boundary import samplers
from amkd_viz.core.errors import InputError
from amkd_viz.objectives import methods, terms
from amkd_viz.objectives.cards import card
from amkd_viz.objectives.selves import selves
from amkd_viz.objectives.sources import views
from amkd_viz.objectives.zoo.per_sample import per_sample
from amkd_viz.training.orders import ORDERS
from amkd_viz.training.update import UPDATES

__all__ = ["ABOUT", "KINDS", "PAPERS", "table"]

KINDS = {
    "method": methods,
    "term": terms,
    "sampler": samplers,
    "weight": per_sample,
    "self": selves,
    "view": views,
    "order": ORDERS,
    "update": UPDATES,
    "experiment": dict.fromkeys(experiments.__all__),
}
# Paper -> names, "kind:" before other things than methods.
PAPERS = {
    "Triplet loss for KD, IJCNN 2020": "triplet-kd",
    "BSS, AAAI 2019": "bss sampler:bss",
    "AMKD, ICAIP 2020 (abstract)": (
        "amkd amkd-student amkd-calibrated amkd-raw amkd-alone amkd-two-sides amkd-pairs amkd-student-negatives "
        "amkd-scheduled amkd-feature amkd-crd"
    ),
    "TALD, WACV 2023": "tald sampler:particles sampler:particles-released",
    "CCD and JDA, ACCV 2022": "ccd view:jda weight:cosine",
    "Multi-perspective augmentation in KD, Neurocomputing 2024": "experiment:augmentations",
    "MFFKD, Sci. Rep. 2024": "fused",
    "MTKD-SSR, IJCV 2023": "ssr channel byot",
    "MJKD, Electronics 2024": "update:mjkd",
    "DOT, ICCV 2023": "update:dot",
    "DeepKD, 2025": "deepkd update:deepkd",
    "FFL, 2019; FFCL, IJDSN 2021": "ffl ffcl",
    "PURF, Appl. Soft Comput. 2024": "smoothed steady view:noisy experiment:steady_teacher",
    "Probability shift, 2019": "swapped",
    "CLIP-SD, part PSD, TMM 2026; DLB, CVPR 2022; GKD, 2020": "psd dlb gkd weight:right",
    "D3, DSP 2024": "margin-bins dkd",
    "BRCD, WWW 2024": "brcd experiment:retrieval",
    "Dual KD for NMT, CSL 2024; kNN-KD; R-Drop, NeurIPS 2021": "knn r-drop",
    "STC-KD, YAC 2022; ETC, ECCV 2020": "stc affinity view:shifted",
    "PLD, NeurIPS 2025": "pld",
    "OFA-KD, NeurIPS 2023": "ofa ofa-logits",
    "TGeo-KD, ICLR 2024": "tgeo ada wls",
    "Self-distillation with weighted ground truth, NeurIPS 2021": (
        "prob-mse experiment:generations experiment:ridge_generations"
    ),
    "DisWOT, CVPR 2023": "experiment:which_student",
    "ICKD, ICCV 2021": "ickd",
    "Margin-MSE, 2020": "margin-mse boundary-margin",
    "LEAF, 2025": "leaf experiment:retrieval",
    "ProKD, AAAI 2023": "prokd prototypes",
    "SD-DARTS, 2023": "vote self:vote",
    "m2mKD, 2024": "experiment:hybrids",
    "MST-Distill, ACM MM 2025": "mst",
    "MSD, 2024": "experiment:class_parts order:part",
    "Law of capacity gap, ACL 2025": "experiment:capacity_gap",
    "TAKD, AAAI 2020": "experiment:assistants",
    "N2N, ICLR 2018": "experiment:shrink",
    "BPKD, WACV 2024": "bpkd weight:near",
    "FF-G2M, AAAI 2023": "graph graph-edge two-sides",
    "Curriculum Designer, ICCV 2023": "order:classes order:margins",
    "Wav2Small, 2024": "ccc teacher-only",
    "SALT, ICLR 2026": "latents view:hidden",
    "COCONUT, ACL Findings 2024": "coconut replay-kd order:replay self:old experiment:class_incremental",
    "Grounded Teacher, IJCV": "confusion confusion-mix weight:confusion view:confused",
    "BCP, CVPR 2023": "bcp bcp-teacher view:paste",
    "PVD-AL, IJCV 2026": "order:hard top-classes",
    "SurgFUTR, 2025": "privileged surgfutr view:poor experiment:privileged_view",
    "KD, 2015": "kd hinton",
    "LS-KD, CVPR 2024": "ls-kd",
    "DKD, CVPR 2022": "dkd",
    "TTM and WTTM, ICLR 2024": "ttm wttm",
    "DIST, NeurIPS 2022": "dist",
    "NKD, ICCV 2023": "nkd",
    "MLKD, CVPR 2023": "mlkd",
    "SDD, CVPR 2024": "sdd",
    "SKD, CVPR 2026": "skd",
    "SRD, AAAI 2024": "srd",
    "RLD, ICCV 2025": "rld",
    "RKD, CVPR 2019": "rkd",
    "SP, ICCV 2019": "sp",
    "PKT, ECCV 2018": "pkt",
    "CC, ICCV 2019": "cc",
    "CRD, ICLR 2020": "crd crd-bank",
    "AT, ICLR 2017": "at",
    "NST, 2017": "nst",
    "FitNets, ICLR 2015": "fitnet",
    "ReviewKD, CVPR 2021": "review",
    "VID, CVPR 2019": "vid",
    "FSP, CVPR 2017": "fsp",
    "FT, NeurIPS 2018": "ft",
    "AB, AAAI 2019": "ab",
    "OFD, ICCV 2019": "ofd",
    "SimKD, CVPR 2022": "simkd",
    "DML, CVPR 2018": "dml",
    "Mean teacher, NeurIPS 2017": "ema-self self:ema",
    "mixup, ICLR 2018; CutMix, ICCV 2019": ("mixup cutmix cutmix-pick view:mixup view:cutmix view:cutmix-pick"),
}
# Reading, and what a test compares with, of the papers that no method stands for.
ABOUT = {
    "Multi-perspective augmentation in KD, Neurocomputing 2024": (
        "our reading of an abstract; the deviation as MingSun-Tse/Good-DA-in-KD",
        "a whole experiment",
    ),
    "MJKD, Electronics 2024": ("our reading of an abstract: three momenta", "resumes bit for bit"),
    "DOT, ICCV 2023": ("exact", "seed1_dot"),
    "DisWOT, CVPR 2023": ("exact scores", "seed2_diswot_scores, zoo_sp"),
    "m2mKD, 2024": ("exact loss; the teacher itself in place of a meta net is our reading", "seed2_m2mkd"),
    "MSD, 2024": ("our reading, for classifiers", "a whole experiment"),
    "Law of capacity gap, ACL 2025": ("our reading, for small image nets", "a whole experiment"),
    "TAKD, AAAI 2020": ("exact chain; weights and schedule are ours", "a whole experiment"),
    "N2N, ICLR 2018": ("exact reward; architectures by name in place of layers", "seed2_n2n_reward"),
    "Curriculum Designer, ICCV 2023": ("exact score; its use as a curriculum is our reading", "seed2_curriculum"),
    "PVD-AL, IJCV 2026": ("our reading, for images in place of rays", "slow loop"),
}


def table() -> Iterator[tuple[str, str, str, str]]:
    """Yield paper, names, reading and check; those of several methods are joined.

    Raises:
        InputError: a name that is in no registry, or a paper whose names have no words.
    """
    for paper, names in PAPERS.items():
        shown, words = [], []
        for name in names.split():
            kind, colon, rest = name.rpartition(":")
            if rest not in KINDS[kind if colon else "method"]:
                raise InputError(f"{paper} names {name!r}, which is not registered.")
            if not colon:
                words.append((card(rest).parts["Reading"], card(rest).parts["Checked"]))
            shown.append(f"`{rest}`" + (f" ({kind})" if colon else ""))
        words = words or [ABOUT[paper]] if paper in ABOUT else words
        if not words:
            raise InputError(f"{paper} names no method and has no words in ABOUT.")
        readings, checks = (list(dict.fromkeys(column)) for column in zip(*words, strict=True))
        yield paper, ", ".join(shown), "; ".join(readings), ", ".join(checks)
