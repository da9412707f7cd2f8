"""All kinds of rankers by name, and how to load a saved one."""

from pathlib import Path
from typing import Final

from pipelines.core.errors import TrainingError
from training.recommend.als import Als
from training.recommend.ease import Ease
from training.recommend.history import History
from training.recommend.item_knn import ItemKnn
from training.recommend.popularity import Popularity
from training.recommend.ranker import Blender
from training.recommend.ranker_protocol import Ranker, read_settings

RANKERS: Final[dict[str, type[Ranker]]] = {
    ranker.kind: ranker for ranker in (Popularity, History, ItemKnn, Ease, Als, Blender)
}


def load_ranker(folder: Path) -> Ranker:
    """A ranker of any kind. Raises TrainingError for a folder that holds none."""
    kind = read_settings(folder)["kind"]
    if kind not in RANKERS:
        raise TrainingError(f"{folder}: unknown ranker '{kind}', expected one of {', '.join(sorted(RANKERS))}")
    return RANKERS[kind].load(folder)
