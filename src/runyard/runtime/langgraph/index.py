"""The index that `langgraph.json` asks for by `store.index`: fields and embedding as LangGraph's stores have them."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from langchain_core.embeddings import Embeddings
from langgraph.store.base.embed import EmbeddingsLambda, ensure_embeddings, get_text_at_path, tokenize_path

from runyard.errors import EmbeddingFailed, InvalidInput, Unsupported
from runyard.runtime.describe import shown
from runyard.runtime.index import Fields, Meanings, Texts
from runyard.runtime.langgraph.manifest import StoreIndex, object_at
from runyard.runtime.load import bad_target, import_module, is_importable
from runyard.vectors import Vector, unit_vector

MAX_CHARACTERS = 1_000_000
"""In the texts of one item together, and in what is searched for."""
MAX_TEXTS = 256
"""Texts of one item; each makes a vector."""
MAX_FIELDS = 64
"""Fields that one item's paths may name together."""


class EmbeddingIndex:
    """Vectors of `dims` numbers, which an embedding makes of the texts at `fields`."""

    def __init__(self, embed: Any, dims: int, fields: Sequence[str] | None = None, *, place: str = "embed") -> None:
        """`embed` is an `Embeddings` object of LangChain, or a function, sync or async, that takes a list of texts and
        gives a list of vectors; `place` is its name in messages.

        Raises:
            TypeError: it is neither.
        """
        if not isinstance(embed, Embeddings) and not callable(embed):
            raise TypeError(f"is {type(embed).__name__}: neither a function nor an Embeddings object")
        self.place = place
        self._dims = dims
        self._fields = ("$",) if fields is None else tuple(fields)
        self._embeddings = ensure_embeddings(cast(Any, embed))
        own = type(self._embeddings).aembed_documents is not Embeddings.aembed_documents
        function = isinstance(self._embeddings, EmbeddingsLambda)
        self._only_awaited = function and hasattr(self._embeddings, "afunc")
        self.blocks = not self._only_awaited if function else not own

    def texts(self, value: Mapping[str, Any], fields: Fields = None) -> list[str]:
        """As `Index`."""
        if fields is False:
            return []
        paths = tuple(dict.fromkeys(self._fields if fields is None else fields))
        if sum(1 + path.count(",") for path in paths) > MAX_FIELDS:
            raise InvalidInput(f"index names more than {MAX_FIELDS} fields", field="index")
        found: dict[str, None] = {}
        characters = 0
        for path in paths:
            for text in get_text_at_path(value, path if path == "$" else tokenize_path(path)):
                if text and text not in found:
                    found[text] = None
                    characters += len(text)
            if characters > MAX_CHARACTERS or len(found) > MAX_TEXTS:
                raise InvalidInput(
                    f"value has {characters} characters in {len(found)} texts to be embedded; at most {MAX_CHARACTERS} "
                    f"in {MAX_TEXTS} are: name less by index, or leave the item out of the index by index=false",
                    field="value",
                )
        return list(found)

    async def meanings(self, texts: Texts) -> Meanings:
        """As `Index`."""
        if self.blocks:
            return await asyncio.to_thread(self.meanings_now, texts)
        _check_queries(texts.queries)
        flat = _flat(texts.items)
        documents: Any = await self._embeddings.aembed_documents(flat) if flat else []
        queries = await asyncio.gather(*map(self._embeddings.aembed_query, texts.queries))
        return self._checked(texts, flat, documents, queries)

    def meanings_now(self, texts: Texts, loop: asyncio.AbstractEventLoop | None = None) -> Meanings:
        """As `Index`."""
        if self._only_awaited:
            work = self.meanings(texts)
            return asyncio.run(work) if loop is None else asyncio.run_coroutine_threadsafe(work, loop).result()
        _check_queries(texts.queries)
        flat = _flat(texts.items)
        documents: Any = self._embeddings.embed_documents(flat) if flat else []
        queries = [self._embeddings.embed_query(query) for query in texts.queries]
        return self._checked(texts, flat, documents, queries)

    def _checked(self, texts: Texts, flat: list[str], documents: Any, queries: list[Any]) -> Meanings:
        try:
            given = len(documents)
        except TypeError:
            raise EmbeddingFailed(f"{self.place} gave {shown(documents)}, not a list of vectors") from None
        if given != len(flat):
            raise EmbeddingFailed(f"{self.place} gave {given} vectors for {len(flat)} texts")
        vectors = {text: self._vector(numbers) for text, numbers in zip(flat, documents, strict=True)}
        return Meanings(
            [[vectors[text] for text in item] for item in texts.items], [self._vector(numbers) for numbers in queries]
        )

    def _vector(self, numbers: Any) -> Vector:
        try:
            return unit_vector([float(number) for number in numbers], self._dims)
        except (TypeError, ValueError, OverflowError) as error:
            raise EmbeddingFailed(
                f"{self.place} gave no vector of {self._dims} finite numbers, as store.index.dims wants it: {error}"
            ) from None


def _check_queries(queries: Sequence[str]) -> None:
    for query in queries:
        if len(query) > MAX_CHARACTERS:
            raise InvalidInput(f"query has {len(query)} characters; allowed: {MAX_CHARACTERS}", field="query")


def _flat(items: Sequence[Sequence[str]]) -> list[str]:
    """All texts, each once."""
    return list(dict.fromkeys(text for texts in items for text in texts))


def index_of(target: str, folder: Path, wanted: StoreIndex) -> EmbeddingIndex:
    """The index that a file asks for.

    Raises:
        InvalidInput: what it names is not there, or is no embedding.
        Unsupported: it names a provider, and LangChain or its package is not installed.
    """
    key, where = "store.index.embed", wanted.embed
    embed = _object(target, folder, key, where)
    if embed is None:
        embed = _provider(target, key, where)
    try:
        return EmbeddingIndex(embed, wanted.dims, wanted.fields, place=f"{key} {where!r}")
    except TypeError as error:
        raise bad_target(target, f"{key}: {where} {error}") from None


def _object(target: str, folder: Path, key: str, where: str) -> Any:
    """What a path or a module names; None where it rather names a provider's model. No provider has a dot in its name.
    `ollama:llama3` may begin with a module that is installed, but that has no such thing in it."""
    place, _, name = where.rpartition(":")
    if place.endswith(".py") or ("." in place and name.isidentifier()):
        return object_at(target, folder, key, where)
    if not name.isidentifier() or not is_importable(place, folder):
        return None
    return getattr(import_module(target, place, folder), name, None)


def _provider(target: str, key: str, where: str) -> Embeddings:
    try:
        init_embeddings = cast(
            "Callable[[str], Embeddings]", importlib.import_module("langchain.embeddings").init_embeddings
        )
    except ImportError:
        raise Unsupported(
            f"target {target!r}: {key} {where!r} is no file and no module, so it names a model of a provider; that "
            "takes LangChain and the provider's package, for example: pip install langchain langchain-openai",
            field=key,
        ) from None
    try:
        return init_embeddings(where)
    except ImportError as error:
        raise Unsupported(f"target {target!r}: {key} {where!r}: {error}", field=key) from None
    except Exception as error:  # each provider has its own, for keys that are not there for example
        raise bad_target(target, f"{key} {where!r}: {type(error).__name__}: {error}") from error
