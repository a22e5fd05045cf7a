"""Knowledge graphs: read them, check them, convert them.

Every graph ends in one :class:`KnowledgeGraph`: ids for the samplers, labels and texts for language models, types, and
the negatives that people have made for some graphs.

.. code-block:: python

    from kgneg.datasets import load

    graph = load("umls")                 # a small graph that is always there
    graph = load("path/to/folder")       # train.tsv, valid.tsv, test.tsv, entities.tsv, ...
    graph = load("animals.ttl")          # RDF in any of the common formats

    graph.train                          # (m, 3) ids, the same as PyKEEN's
    graph.entity_texts(missing="label")  # one text for each entity
    graph.type_ids()                     # (k, 2) pairs of entity and type
    graph.report                         # what was dropped, and how often
    graph.to_networkx()                  # and KnowledgeGraph.from_networkx back

**Ids.** The id of an entity is its position in the sorted labels of the training triples, and each split is sorted and
free of repetitions. PyKEEN does the same, thus tensors of both agree. What cannot be used, an evaluation triple with an
entity that training never saw, is dropped, counted in :attr:`KnowledgeGraph.report`, and logged once.

**Reading.** The readers skip nothing: a line that is no triple is an error that names the file, the line, what was
found and what is expected. Quotation marks have no meaning, and an entity may be called ``NA``. Nothing is ever
downloaded.

**Texts.** Language models need a text for each entity. An entity without one is an error unless you ask for its label
instead, because a vector of ``/m/027rn`` means nothing. :func:`humanise` makes words of a label
such as ``red_deer`` or an IRI.

**Sentences.** Where relations come from text, :class:`RelationPairs` holds pairs of entities inside sentences with
their labels. :func:`read_docred` and :func:`read_tacred` read the files of these data sets and of their corrected
versions, and :func:`read_vectors` reads vectors with labels, wherever they come from.

**Phrases.** The entities of ATOMIC and ConceptNet are phrases: :func:`read_atomic` and :func:`read_conceptnet` read
them. A :class:`Conceptualiser` finds what phrases are about, their words, the concepts of their parts
(:func:`read_concepts`) and the synsets of a WordNet (:func:`read_wordnet`); a negative whose head shares none of these
with that of the triple is less likely to be true. :func:`abstract_triples` puts concepts in place of their instances.
"""

from __future__ import annotations

from kgneg.datasets._csv_files import read_rows
from kgneg.datasets._files import read_text
from kgneg.datasets._labels import humanise
from kgneg.datasets.abstract_triples import AbstractTriples, abstract_triples, read_abstract_triples
from kgneg.datasets.atomic import read_atomic, read_atomic_keywords
from kgneg.datasets.builtin import available, load
from kgneg.datasets.concept_features import ConceptFeatures
from kgneg.datasets.concept_table import ConceptTable, read_concepts
from kgneg.datasets.conceptnet import read_conceptnet
from kgneg.datasets.conceptualiser import Conceptualiser
from kgneg.datasets.folder import load_folder
from kgneg.datasets.graph import KnowledgeGraph
from kgneg.datasets.rdf import is_rdf, load_rdf
from kgneg.datasets.readers import read_labelled_triples, read_texts, read_triples, read_types
from kgneg.datasets.relation_readers import docred_pairs, read_docred, read_tacred, unique_titles
from kgneg.datasets.relations import RelationPairs
from kgneg.datasets.taxonomy import Taxonomy
from kgneg.datasets.vector_files import read_vectors, write_vectors
from kgneg.datasets.vectors import VectorTable
from kgneg.datasets.wordnet import read_wordnet

__all__ = [
    "AbstractTriples",
    "ConceptFeatures",
    "ConceptTable",
    "Conceptualiser",
    "KnowledgeGraph",
    "RelationPairs",
    "Taxonomy",
    "VectorTable",
    "abstract_triples",
    "available",
    "docred_pairs",
    "humanise",
    "is_rdf",
    "load",
    "load_folder",
    "load_rdf",
    "read_abstract_triples",
    "read_atomic",
    "read_atomic_keywords",
    "read_conceptnet",
    "read_concepts",
    "read_docred",
    "read_labelled_triples",
    "read_rows",
    "read_tacred",
    "read_text",
    "read_texts",
    "read_triples",
    "read_types",
    "read_vectors",
    "read_wordnet",
    "unique_titles",
    "write_vectors",
]
