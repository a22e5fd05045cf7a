"""
Recommend without negatives
===========================

Who trains a recommender on pairs of users and items usually draws negatives: items that a user does not have, and may
well want. BUIR [#]_ draws none. A user predicts its items and an item its users, and a slowly following copy of the
encoder keeps all vectors from falling together. Here it is written down in plain PyTorch first and then taken from the
package, next to methods that need no training at all.

.. [#] Lee et al., Bootstrapping User and Item Representations for One-Class Collaborative Filtering, SIGIR 2021.
"""

# %%
import copy
import os

import torch
from torch.nn import functional

from kgneg.recommending import DataSettings, load_interactions
from kgneg.recsys import Interactions, Recommender, build_recommender, embedding_health, evaluate

EPOCHS = int(os.environ.get("KGNEG_TUTORIAL_EPOCHS", "120"))
torch.set_num_threads(1)
torch.manual_seed(0)

# %% [markdown]
# The data come with PyKEEN: the heads of the triples of UMLS are the users, and pairs of a relation and a tail, such as
# ``affects: organism``, the items. Half of the pairs of each user are for training, a quarter for validation and test
# each. With a file it is ``Interactions.read("ratings.csv").split("beta")``.

# %%
split = load_interactions(DataSettings("umls")).split
train, valid, test = split.train, split.valid, split.test
num_users, num_items = train.num_users, train.num_items
print(f"{num_users} users, {num_items} items; {len(train):,} pairs to learn from, {len(test):,} to be found")


def recall(scores: torch.Tensor, k: int = 20) -> float:
    """The share of the test items of a user that are among the best k, items known before left out; mean over users."""
    shown = scores.clone()
    for known in (train, valid):
        shown[known.users, known.items] = -torch.inf
    best = shown.topk(k).indices
    wanted = torch.zeros(num_users, num_items)
    wanted[test.users, test.items] = 1
    there = (wanted.sum(-1) > 0) & (train.user_counts > 0)
    return float((wanted.gather(1, best).sum(-1) / wanted.sum(-1))[there].mean())


# %% [markdown]
# The *encoder* is a table with a row for each user and item. With layers, as in LightGCN, it is then averaged over the
# graph of the training pairs, layer by layer. There are no weights but the table.

# %%
nodes = torch.stack([train.users, train.items + num_users])
ends = torch.cat([nodes, nodes.flip(0)], dim=-1)
degree = torch.bincount(ends[0], minlength=num_users + num_items).clamp(min=1).float()
weights = (degree[ends[0]] * degree[ends[1]]).rsqrt()
size = (num_users + num_items, num_users + num_items)
graph = torch.sparse_coo_tensor(ends, weights, size, check_invariants=True).coalesce()


class Encoder(torch.nn.Module):
    def __init__(self, layers: int, dim: int = 64) -> None:
        super().__init__()
        self.layers = layers
        self.table = torch.nn.Parameter(torch.empty(num_users + num_items, dim))
        torch.nn.init.xavier_uniform_(self.table)

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = [self.table]
        for _ in range(self.layers):
            outputs.append(graph @ outputs[-1])
        users, items = torch.stack(outputs).mean(0).split([num_users, num_items])
        return users, items


# %% [markdown]
# The *predictor* is one linear layer. The *target* is a copy of the encoder without a gradient that moves a little
# towards it after each step. The *loss* of a pair is the distance of the user's prediction from the item's target plus
# that of the item's prediction from the user's target, all of length one. No other user or item appears in it.
#
# What speaks against it: if all vectors were the same, the loss would be zero. ``stop=False`` takes away what prevents
# that, the predictor and the constant target.


# %%
def train_buir(layers: int = 3, *, stop: bool = True) -> tuple[torch.Tensor, ...]:
    """Return the vectors of users and items, the predictions made from them, and the last loss."""
    online = Encoder(layers)
    predictor = torch.nn.Linear(64, 64)
    torch.nn.init.xavier_normal_(predictor.weight)
    torch.nn.init.zeros_(predictor.bias)  # a large one would make all predictions point the same way
    target = copy.deepcopy(online).requires_grad_(False)
    optimizer = torch.optim.Adam([*online.parameters(), *predictor.parameters()], lr=5e-3, weight_decay=3e-4)
    predict = predictor if stop else torch.nn.Identity()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(train)).split(1024):
            users, items = online()
            target_users, target_items = target() if stop else (users, items)
            u, i = train.users[batch], train.items[batch]
            loss = 2 - 2 * functional.cosine_similarity(predict(users[u]), target_items[i])
            loss = loss + 2 - 2 * functional.cosine_similarity(predict(items[i]), target_users[u])
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            with torch.no_grad():
                target.table.lerp_(online.table, 1 - 0.98)
    with torch.no_grad():
        users, items = online()
        return users, items, predict(users), predict(items), loss.mean()


# %% [markdown]
# The *score* has to be that of the loss: the user's prediction meets the item, and the user meets the prediction of the
# item. Nothing in training brings a user and its items together without the predictor. From a table the inner products
# of the bare vectors are worth nothing, and many failures of BUIR are this mistake. With layers they need not be: on
# this small and dense graph averaging alone puts a user among its items, and they do even better. But the loss does not
# ask for that, so do not count on it.

# %%
print(f"\n{'recall@20, from scratch':26}{'with predictor':>16}{'without':>10}")
for layers, name in ((0, "a table"), (3, "three layers")):
    users, items, predicted_users, predicted_items, loss = train_buir(layers)
    with_it = recall(predicted_users @ items.T + users @ predicted_items.T)
    print(f"{name:26}{with_it:>16.3f}{recall(users @ items.T):>10.3f}")

# %% [markdown]
# Now without what prevents a collapse. The loss is better, nearly perfect, and says nothing. The spread of the vectors
# does: 1 if they point everywhere, 0 if all point the same way. The package looks at it while it trains, and warns.

# %%
collapsed = train_buir(stop=False)
print("\n            loss   spread of users   directions in use")
for name, vectors, value in (("BUIR", users, loss), ("collapsed", collapsed[0], collapsed[4])):
    health = embedding_health(vectors)
    print(f"{name:10}{value:6.3f}{health.spread:18.3f}{health.effective_rank:20.1f}")
print(f"recall@20 of the collapsed vectors: {recall(collapsed[0] @ collapsed[1].T):.3f}")

# %% [markdown]
# The same from the package, with the learning rate and momentum from above; it looks at the validation pairs as well,
# keeps the best epoch and stops in time. Beside it is what everything trained should be compared with: the same list
# for all, the items of users with similar items, and a ridge regression of items on items, whose one number is chosen
# on the validation pairs.


# %%
def judge(model: Recommender, pairs: Interactions, hide: Interactions | None = None) -> float:
    return evaluate(model, pairs, hide=hide, progress=False).metrics["recall@20"]


models = {name: build_recommender(name).fit(train) for name in ("popularity", "two-hop")}
regressions = [build_recommender("ease", l2=l2).fit(train) for l2 in (10.0, 30.0, 100.0, 300.0)]
models["ease"] = max(regressions, key=lambda one: judge(one, valid))
for name in ("buir-id", "buir-nb"):
    models[name] = build_recommender(name, epochs=EPOCHS, lr=5e-3, momentum=0.98, device="cpu").fit(train, valid)
print("\nrecall@20 on the test pairs")
for name, model in models.items():
    print(f"  {name:12}{judge(model, test, valid):.3f}")

# %% [markdown]
# Read that table before you choose. Here the ridge regression is about as good as anything that was trained, and done
# in milliseconds; take it where it can be had. Its time grows with the third power of the number of items, that of an
# epoch of BUIR with the number of pairs, and BUIR has vectors for any index of inner products.
#
# A fitted model answers by name, also for somebody new, and can be kept.

# %%
model = models["buir-nb"]
history = ["affects: organism", "causes: disease_or_syndrome"]
print("\nbacterium:", ", ".join(model.recommend(["bacterium"], 3).to_frame()["item"]))
print(f"somebody new with {', '.join(history)}:", ", ".join(model.fold_in([history], 3).to_frame()["item"]))
print(f"like {history[0]}:", ", ".join(model.similar_items(history[:1], 3).to_frame()["item"]))
model.save("out/buir")
again = Recommender.load("out/buir")
print("the same after loading:", torch.equal(again.recommend(k=5).items, model.recommend(k=5).items))
