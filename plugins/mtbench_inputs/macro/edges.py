"""Edges from nodes to macro nodes, and the tables that rows point into."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from scipy import sparse

    from mtbench_inputs.macro.clusters import Macro
    from mtbench_inputs.macro.scores import Merged


@dataclass(frozen=True)
class Lines:
    """The (snapshot, node) pairs that some row needs, in that order: line i is ``node[i]`` as seen by ``chunk[i]``."""

    node: np.ndarray
    chunk: np.ndarray

    def of(self, chunk: int) -> np.ndarray:
        """Return the nodes of a snapshot."""
        start, end = np.searchsorted(self.chunk, [chunk, chunk + 1])
        return self.node[start:end]


def find_lines(node: np.ndarray, chunk: np.ndarray, nodes: int, chunks: int) -> tuple[Lines, np.ndarray]:
    """Return the lines of rows, and the line of each row."""
    key = chunk.astype(np.int64) * nodes + node
    needed = np.zeros(chunks * nodes, bool)
    needed[key] = True
    at = np.flatnonzero(needed)
    line = np.cumsum(needed)[key] - 1
    return Lines(at % nodes, (at // nodes).astype(np.int32)), line


def weigh_hops(
    scores: sparse.csr_array, macro: Mapping[str, Macro], some: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the macro edge weights of some users and items, from scores S and one-hot assignments P.

    Users have ``S P_items`` and ``S S' P_users``, items ``S' P_users`` and ``S' S P_items``, as in MacGNN's code
    (arXiv 2401.14939) with S for its binary matrix.
    """
    turned = scores.T.tocsr()
    user_hop1 = (scores @ macro["item"].one_hot()).toarray()
    item_hop1 = (turned @ macro["user"].one_hot()).toarray()
    return {
        "user-hop1": user_hop1[some["user"]],
        "user-hop2": scores[some["user"]] @ item_hop1,
        "item-hop1": item_hop1[some["item"]],
        "item-hop2": turned[some["item"]] @ user_hop1,
    }


def make_task_table(
    seen: Merged, tasks: Mapping[int, int], width: int, item_macro: Macro, users: int, some: np.ndarray
) -> np.ndarray:
    """Return, for some users and each of ``width`` tasks, the item macro node of most of its positives, 0 for none.

    ``tasks`` maps a bit of what pairs have done to its task's column. Ties go to the lower number.
    """
    table = np.zeros((len(some), width), np.int32)
    member = item_macro.one_hot()
    for bit, task in tasks.items():
        positive = seen.matrix(seen.done >> bit & 1, users, len(item_macro.numbers))
        counts = (positive[some] @ member).toarray()
        table[:, task] = np.where(counts.any(1), counts.argmax(1) + 1, 0)
    return table


def list_neighbors(merged: Merged, side: str, lines: Lines, chunks: int) -> dict[str, np.ndarray]:
    """Return each node's pairs, the latest last, and where those that a line may see begin and end."""
    node, partner = (merged.user, merged.item) if side == "user" else (merged.item, merged.user)
    node = node.astype(np.int64)
    order = np.argsort(node * (merged.event.max(initial=0) + 1) + merged.event)
    key = node[order] * (chunks + 1) + merged.chunk[order] + 1
    begin = lines.node * (chunks + 1)
    return {
        "partner": np.append(partner[order] + 1, np.int32(0)),
        "score": np.append(merged.score[order], np.float32(0)),
        "until": np.append(merged.until[order], np.int32(-1)),
        "start": np.searchsorted(key, begin),
        "end": np.searchsorted(key, begin + lines.chunk + 1),
    }


def write(folder: Path, lengths: Mapping[str, int], snapshots: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Write tables piece by piece, one .npy file each; ``lengths`` are those of whole tables by first word of name."""
    with ExitStack() as stack:
        files = {}
        for pieces in snapshots:
            for name, piece in pieces.items():
                if name not in files:
                    files[name] = stack.enter_context((folder / f"{name}.npy").open("wb"))
                    header = {
                        "shape": (lengths[name.split("-")[0]], *piece.shape[1:]),
                        "fortran_order": False,
                        "descr": np.lib.format.dtype_to_descr(piece.dtype),
                    }
                    np.lib.format.write_array_header_1_0(files[name], header)
                files[name].write(np.ascontiguousarray(piece).data)
