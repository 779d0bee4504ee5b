"""An ensemble's members, as tables: what carries over, and how alike they are."""

from advdetect.report.blocks import Block, Cell, Folded, Table, Text
from advdetect.report.report import Report, TransferRow
from advdetect.report.rows import AVERAGE, CLEAN
from advdetect.report.words import attack_words, count, decimal, percent, share_range


def members(report: Report) -> tuple[Block, ...]:
    """Transfer between members, white box on each, similarity by layer."""
    if not report.transfer:
        return ()
    rows = [row for row in report.transfer if row.source != CLEAN]
    targets = list(dict.fromkeys(row.target for row in report.transfer))
    clean = {row.target: row for row in report.transfer if row.source == CLEAN}
    budgets = list(dict.fromkeys((row.attack, row.eps) for row in rows))
    header = ("crafted on", *(_name(target) for target in targets))
    every = next(iter(rows)).accuracy.n
    tables: list[Table] = []
    single: list[Table] = []
    known: list[tuple[Cell, ...]] = []
    for attack, eps in budgets:
        found = {(r.source, r.target): r for r in rows if (r.attack, r.eps) == (attack, eps)}
        sources = list(dict.fromkeys(source for source, _ in found))
        if AVERAGE in sources:
            cells = (_accuracy(found[AVERAGE, t], t == AVERAGE) for t in targets)
            known.append((Cell(attack_words(attack, eps)), *cells))
        if sources == [AVERAGE]:
            continue
        body = tuple(
            (Cell(_name(s)), *(_accuracy(found.get((s, t)), s == t) for t in targets))
            for s in sources
        )
        table = Table(f"Right under {attack_words(attack, eps)}", header, body)
        (single if attack.endswith("_fgsm") else tables).append(table)
    return (
        Text(
            "Examples crafted on one network are tried on the others: what a column keeps in "
            "rows of other networks does not carry over. On its own row a network is attacked "
            "with full knowledge of it; the average is also attacked by re-weighted members and "
            f"by the strong suite. Counted are the {count(every)} images that all networks "
            "classify correctly."
        ),
        Table(
            "Clean accuracy, on all images",
            ("", *header[1:]),
            ((Cell("right"), *(_accuracy(clean.get(t), False) for t in targets)),),
        ),
        *tables,
        Table("Crafted on the average, with full knowledge", ("", *header[1:]), tuple(known)),
        *((Folded("The same by a single step", tuple(single)),) if single else ()),
        *_similarity(report),
    )


def _name(network: str) -> str:
    return network.replace("-", " ")


def _accuracy(row: TransferRow | None, own: bool) -> Cell:
    if row is None or row.accuracy.value is None:
        return Cell("\u2013")
    tag = "white box" if own else ""
    return Cell(percent(row.accuracy.value), share_range(row.accuracy), tag)


def _similarity(report: Report) -> tuple[Block, ...]:
    if not report.similarity:
        return ()
    words = {
        "squared_distance_correlation": "dCor\u00b2, biased",
        "unbiased_squared_distance_correlation": "dCor\u00b2, unbiased",
        "unbiased_linear_cka": "CKA, unbiased",
        "graph_similarity": "GBS, k = 5",
    }
    names = list(report.similarity[0].values)
    body = tuple(
        (
            Cell(f"{row.first} and {row.second}: {row.layer}"),
            *(Cell(decimal(row.values[name])) for name in names),
        )
        for row in report.similarity
    )
    n = report.similarity[0].n
    table = Table(
        f"How alike members represent {count(n)} clean images, layer by layer",
        ("members: layer", *(words.get(name, name) for name in names)),
        body,
    )
    return (Folded("How alike the members are", (table,)),)
