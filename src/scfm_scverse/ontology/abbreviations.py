"""Short forms that the field uses in labels, written down by hand: no table of somebody else's."""

from __future__ import annotations

# One word of a label -> the words that names of the Cell Ontology use.
WORDS = {
    word: meaning.split()
    for word, meaning in {
        "at1": "pulmonary alveolar type 1",
        "at2": "pulmonary alveolar type 2",
        "astro": "astrocyte",
        "baso": "basophil",
        "caf": "fibroblast",
        "cdc": "conventional dendritic",
        "cdc1": "cd141=positive myeloid dendritic",
        "cdc2": "cd1c=positive myeloid dendritic",
        "clp": "common lymphoid progenitor",
        "cmp": "common myeloid progenitor",
        "ctl": "cytotoxic t",
        "dc": "dendritic",
        "dp": "double positive",
        "endothelium": "endothelial",
        "eos": "eosinophil",
        "epi": "epithelial",
        "epithelium": "epithelial",
        "ery": "erythroid lineage",
        "eryth": "erythroid lineage",
        "fibro": "fibroblast",
        "gdt": "gamma delta t",
        "gmp": "granulocyte monocyte progenitor",
        "hspc": "hematopoietic precursor",
        "icc": "interstitial cajal",
        "ilc": "innate lymphoid",
        "ilc1": "group 1 innate lymphoid",
        "ilc2": "group 2 innate lymphoid",
        "ilc3": "group 3 innate lymphoid",
        "lec": "endothelial lymphatic vessel",
        "mac": "macrophage",
        "macro": "macrophage",
        "mait": "mucosal associated invariant t",
        "mem": "memory",
        "mep": "megakaryocyte erythroid progenitor",
        "microglia": "microglial",
        "mk": "megakaryocyte",
        "mono": "monocyte",
        "mpp": "hematopoietic multipotent progenitor",
        "myoepi": "myoepithelial",
        "neut": "neutrophil",
        "neutro": "neutrophil",
        "nk": "natural killer",
        "nkt": "mature nk t",
        "oligo": "oligodendrocyte",
        "opc": "oligodendrocyte precursor",
        "pdc": "plasmacytoid dendritic",
        "prog": "progenitor",
        "rbc": "erythrocyte",
        "reg": "regulatory",
        "smc": "smooth muscle",
        "tam": "macrophage",
        "tcm": "central memory t",
        "tem": "effector memory t",
        "tfh": "t follicular helper",
        "th1": "t helper 1",
        "th17": "t helper 17",
        "th2": "t helper 2",
        "treg": "regulatory t",
        "vlmc": "vascular leptomeningeal",
        "vsmc": "vascular associated smooth muscle",
        "fcgr3a=positive": "cd16=positive",
        "ms4a1=positive": "cd20=positive",
        "ncam1=positive": "cd56=positive",
    }.items()
}

# A whole label -> its term, where the Cell Ontology puts it in other words.
LABELS = {
    "alpha": "CL:0000171",
    "beta": "CL:0000169",
    "delta": "CL:0000173",
    "epsilon": "CL:0005019",
    "gamma": "CL:0002275",
    "pp": "CL:0002275",
    "erythroid": "CL:0000764",
    "proximal tubule": "CL:0002306",
    "b pre": "CL:0000817",
    "cd16=positive monocyte": "CL:0002396",
    "cd14=negative cd16=positive monocyte": "CL:0002396",
}

# Words that say in which state cells are or where they come from, not what they are.
STATES = frozenset("activated cycling dividing normal prolif prol proliferating resting".split())

# Short forms that mean different things in different tissues.
AMBIGUOUS = {
    "ec": ("CL:0000115", "CL:0000577"),
    "endo": ("CL:0000115", "CL:0000163"),
    "hsc": ("CL:0000037", "CL:0000632"),
    "msc": ("CL:0000134", "CL:0000499"),
    "pc": ("CL:0000786", "CL:0000669", "CL:0000121"),
    "lc": ("CL:0000453", "CL:0000178"),
    "dc1": ("CL:0002394", "CL:0000990"),
    "dc2": ("CL:0002399", "CL:0000784"),
}
