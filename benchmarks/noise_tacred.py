"""What the published lists of rows say about the paper's procedures, by ids and labels alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

NEGATIVE = "no_relation"


def check_lists(folder: Path) -> list[dict[str, Any]]:
    """Compare the flagged ids with the corrected labels of Re-TACRED.

    :param folder: with the lists and the corrected labels
    :returns: for each model, variant and split how many ids are judged and what share of them is really positive
    """
    flagged = pd.read_csv(folder / "parekh_flagged_ids.tsv.gz", sep="\t", dtype=str, keep_default_na=False)
    corrected = pd.read_csv(folder / "retacred_v1.1_labels.tsv.gz", sep="\t", dtype=str, keep_default_na=False)
    split, ids, label = corrected.columns[:3]
    judged = flagged.merge(corrected.rename(columns={ids: "id", label: "corrected", split: "in"}), on="id")
    rows = []
    for (model, variant, part), group in judged.groupby(["model", "variant", "split"], sort=True):
        if variant not in ("EN", "RN"):
            continue  # the other variants list positives as well, whose given labels are not here
        positive = group["corrected"] != NEGATIVE
        row = {
            "model": model,
            "variant": variant,
            "split": part,
            "judged": len(group),
            "really_positive": float(positive.mean()),
        }
        if variant == "RN":
            row["label_right"] = float((group["corrected"] == group["new_label"]).mean())
            row["still_negative"] = float((~positive).mean())
        rows.append(row)
    return rows
