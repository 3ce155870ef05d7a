"""Tables of docs/results/zero-shot.md: scores that scripts wrote, and facts of the weights.

    python examples/figures/zero_shot_page.py PAGE CSV [CSV ...] --packages CSV

Writes what stands between the marks of PAGE anew: one row per set and one column per model, with
the lowest in bold, of the tables of zero_shot.py and of that of zero_shot_packages.py; and what the
package knows of its weights.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rimer_forecaster.zero_shot import describe

MODELS = ("zero-shot", "seasonal naive", "AutoETS", "AutoTheta", "RimerModel")
LEFT_OUT = ("too short", "same values", "same shape")
COMPETING = " of the competitions", ("M1 ", "M3 ", "tourism ")
SHOWN = {"mase": "{:.3f}", "wql": "{:.4f}", "coverage": "{:.0%}"}


def scores(frame: pd.DataFrame, figure: str, part: str = "", begins: Sequence[str] = ()) -> str:
    """One figure of all sets and models; the last row is the geometric mean of relative errors.

    That over a part of the sets, whose names begin so, has a row of its own.
    """
    table = frame.pivot(index="set", columns="model", values=figure)
    table = table.loc[list(dict.fromkeys(frame["set"])), [x for x in MODELS if x in table]]
    lines = [
        "| " + " | ".join(["set", *table.columns]) + " |",
        "| --- |" + " ---: |" * table.shape[1],
    ]
    for name, row in table.iterrows():
        cells = ["" if np.isnan(x) else SHOWN[figure].format(x) for x in row]
        if figure != "coverage":
            cells = [f"**{y}**" if x == row.min() else y for x, y in zip(row, cells, strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if figure != "coverage":
        relative = np.log(table.div(table["seasonal naive"], axis=0))
        means = {"": relative.mean()}
        if part:
            means[part] = relative[relative.index.str.startswith(tuple(begins))].mean()
        for name, row in means.items():
            cells = [f"{x:.3f}" for x in np.exp(row)]
            lines.append(f"| over seasonal naive, geometric mean{name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def sets(frame: pd.DataFrame) -> str:
    """What is forecast of each set, and what was left out."""
    heads = ["set", "series", "origins", "steps", "season", *LEFT_OUT]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for row in frame.drop_duplicates("set")[heads].itertuples(index=False):
        lines.append(f"| {row[0]} | " + " | ".join(f"{x:,}" for x in row[1:]) + " |")
    return "\n".join(lines)


def sheet(known: Mapping[str, Any]) -> str:
    """Facts of the weights."""
    plan, arguments = known["plan"], known["arguments"]
    rows = {
        "name": f"`{known['name']}`",
        "SHA-256": f"`{known['sha256']}`",
        "network": f"`{arguments['layers']}`, width {arguments['width']}, heads of "
        f"{arguments['head_size']}, patches of {arguments['patch_length']}, "
        f"{arguments['output_chunk_length']} steps at once, a linear skip over "
        f"{arguments['skip_length']}",
        "quantiles": ", ".join(f"{x:g}" for x in known["quantiles"]),
        "longest context": f"{arguments['input_chunk_length']:,} steps",
        "training": f"{known['steps']:,} steps of {plan['values']:,} values in {known['hours']:g} "
        f"hours; {_seeds(known)}; version {known['prior']} of the prior",
        "machine": known["machine"],
    }
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {fact} |" for name, fact in rows.items())]
    lines += [
        "",
        "| validation rows, error over that of seasonal naive | forecast | network alone |",
    ]
    lines += ["| --- | ---: | ---: |"]
    alone = known["validation of the network alone"]
    for name, value in known["validation"].items():
        shown = {"score": "all, geometric mean over frequencies"}.get(name, name)
        beside = f"{alone[name]:.3f}" if name in alone else ""
        lines.append(f"| {shown} | {value:.3f} | {beside} |")
    lines += ["", "| source | trained on, series | values | validation, series |"]
    lines += ["| --- | ---: | ---: | ---: |"]
    held = known["series"]["validation"]
    for source, (count, values) in known["series"]["train"].items():
        shown = f"{held[source][0]:,}" if source in held else ""
        lines.append(f"| github.com/{source} | {count:,} | {values:,} | {shown} |")
    return "\n".join(lines)


def _seeds(known: Mapping[str, Any]) -> str:
    """Say by which seeds the weights were trained, and by those that they begun from."""
    before = known.get("begun from", {})
    own = f"{known['steps'] - before.get('steps', 0):,} with seed {known['plan']['seed']}"
    return f"{_seeds(before)}, then {own}" if before else own


def filled(page: str, parts: Mapping[str, str]) -> str:
    """Put parts between the marks of their names."""
    for name, text in parts.items():
        mark = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        page, count = re.subn(
            mark,
            lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}",
            page,
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(f"the page holds the mark {name!r} {count} times, not once.")
    return page


def main() -> None:
    """Write the tables into the page."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("page", type=Path)
    options.add_argument("tables", type=Path, nargs="+")
    options.add_argument("--packages", type=Path, required=True)
    arguments = options.parse_args()
    frame = pd.concat([pd.read_csv(x) for x in arguments.tables], ignore_index=True)
    frame = frame.drop_duplicates(["set", "model"], keep="last")
    parts = {figure: scores(frame, figure) for figure in SHOWN} | {"sheet": sheet(describe())}
    packages = pd.read_csv(arguments.packages)
    parts |= {f"{figure} of packages": scores(packages, figure, *COMPETING) for figure in SHOWN}
    parts |= {"sets of packages": sets(packages)}
    page = filled(arguments.page.read_text(encoding="utf-8"), parts)
    arguments.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
