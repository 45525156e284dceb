"""Multiple negatives ranking (InfoNCE), and the squared error of cosines against scores (CosineSimilarityLoss of
sentence-transformers), on given vectors by plain torch: the loss, and its gradients with respect to the vectors. Writes Tests/MoruTrainingTests/Goldens/embeddings.json."""
import json
import pathlib

import torch
import torch.nn.functional as F

from deterministic import rounded, values

CASES = [dict(anchors=4, negatives=0, width=8, scale=20.0), dict(anchors=3, negatives=5, width=6, scale=20.0),
         dict(anchors=5, negatives=2, width=16, scale=1.0)]


def tensor(name, shape):
    return torch.from_numpy(values(name, shape))


def case(anchors, negatives, width, scale):
    a = tensor(f"anchors.{anchors}", [anchors, width]).requires_grad_()
    c = tensor(f"candidates.{anchors}", [anchors + negatives, width]).requires_grad_()
    scores = F.normalize(a, dim=1) @ F.normalize(c, dim=1).T * scale
    loss = F.cross_entropy(scores, torch.arange(anchors), reduction="sum")
    loss.backward()
    return {"anchors": rounded(a.detach().flatten().tolist()), "candidates": rounded(c.detach().flatten().tolist()),
            "shape": [anchors, anchors + negatives, width], "scale": scale, "loss": loss.item(),
            "gradients": [rounded(a.grad.flatten().tolist()), rounded(c.grad.flatten().tolist())]}


def scored(pairs, width):
    a = tensor(f"first.{pairs}", [pairs, width]).requires_grad_()
    b = tensor(f"second.{pairs}", [pairs, width]).requires_grad_()
    scores = tensor(f"scores.{pairs}", [pairs])
    loss = F.mse_loss(F.cosine_similarity(a, b), scores, reduction="sum")
    loss.backward()
    return {"first": rounded(a.detach().flatten().tolist()), "second": rounded(b.detach().flatten().tolist()),
            "shape": [pairs, width], "scores": rounded(scores.tolist()), "loss": loss.item(),
            "gradients": [rounded(a.grad.flatten().tolist()), rounded(b.grad.flatten().tolist())]}


path = pathlib.Path(__file__).parents[2] / "Tests/MoruTrainingTests/Goldens/embeddings.json"
path.write_text(json.dumps([case(**c) for c in CASES] + [scored(5, 8), scored(1, 3)]) + "\n")
