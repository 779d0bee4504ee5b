"""Where an input falls in the smooth eigenvectors of the landmarks' graph, layer by layer."""

import torch
from torch import Tensor

from advdetect.features.base import (
    CONTRAST,
    Feature,
    Observation,
    block_ends,
    choose_landmarks,
    class_contrast,
)
from advdetect.features.graph_edges import directions
from advdetect.similarity.embedding import spectral_embedding

LANDMARKS = 300  # over all classes: a decomposition of their graph is quick
DIMENSIONS = 10
NEIGHBORS = 5


class SpectralFeatures(Feature):
    """How near an input falls to the classes' centres in Laplacian eigenmaps of clean landmarks.

    At the end of every block landmarks are joined by the squared cosine of their outputs, and the
    ``DIMENSIONS`` smoothest eigenvectors make coordinates. A new input lies at the mean of its
    ``NEIGHBORS`` nearest landmarks, weighted by its edges (Nystroem's extension, without
    rescaling). The columns are minus the distances to the centres of classes, and by how much
    these changed since the layer before, on average. The state holds ``LANDMARKS`` outputs a layer.

    Source:
        Belkin & Niyogi 2003, doi:10.1162/089976603321780317; Bengio et al. 2004 for new inputs.
    """

    def _fit(self, reference: Observation) -> None:
        per_class = max(1, LANDMARKS // self.classes)
        rows, classes = choose_landmarks(reference.predicted, self.classes, per_class)
        step = -(-len(rows) // LANDMARKS)  # more classes than landmarks: evenly thinned
        rows, self.state["classes"] = rows[::step], classes[::step]
        for layer in block_ends(self.layers):
            outputs = directions(reference.thinned[layer][rows])
            graph = (outputs @ outputs.T).clamp(min=1e-6) ** 2
            graph = (graph + graph.T) / 2  # a product's two halves differ in the last digit
            dimensions = min(DIMENSIONS, len(graph) - 1)
            coordinates = spectral_embedding(graph, dimensions).coordinates.to(outputs)
            self.state[f"outputs.{layer}"] = outputs
            self.state[f"coordinates.{layer}"] = coordinates / coordinates.std(0).clamp(min=1e-12)

    def _columns(self) -> list[tuple[str, str]]:
        ends = block_ends(self.layers)
        columns = [(layer, f"spectral place, {kind}") for layer in ends for kind in CONTRAST]
        return columns + [(layer, "moved since the layer before") for layer in ends[1:]]

    def _prepare(self) -> None:
        classes = self.state["classes"]
        member = torch.nn.functional.one_hot(classes, self.classes).float()
        count = member.sum(0)[:, None]
        self._centres: dict[str, Tensor] = {}
        for layer in block_ends(self.layers):
            coordinates = self.state[f"coordinates.{layer}"]
            # A class without landmarks has its centre at that of all, 0 or near.
            centres = member.T @ coordinates / count.clamp(min=1)
            self._centres[layer] = torch.where(count > 0, centres, coordinates.mean(0))

    def _rows(self, observation: Observation) -> Tensor:
        near: list[Tensor] = []
        for layer in block_ends(self.layers):
            edges = directions(observation.thinned[layer]) @ self.state[f"outputs.{layer}"].T
            strongest = edges.topk(min(NEIGHBORS, edges.shape[1]), dim=1, sorted=False)
            weights = strongest.values / strongest.values.sum(1, keepdim=True).clamp(min=1e-12)
            coordinates = self.state[f"coordinates.{layer}"][strongest.indices]
            place = (weights[:, :, None] * coordinates).sum(1)
            centres = self._centres[layer][observation.candidates]
            near.append(-torch.linalg.vector_norm(place[:, None] - centres, dim=2))
        standing = torch.stack(near, dim=1)
        moved = (standing[:, 1:] - standing[:, :-1]).abs().mean(2)
        return torch.cat([class_contrast(standing).flatten(1), moved], dim=1)
