/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "replaced.h"

#include <errno.h>
#include <xxhash.h>

#include "rest.h"

enum {
	SPAN = 2 * WINDOW_REACH + 1,
	ANCHOR_SHIFT = 64 - 7, /* one in 128 bytes is an anchor */
	ANCHOR_BYTES = 64,     /* bytes before it that choose an anchor */
	ANCHORS = 1 << 16,
	MATCH_LEAST = 64,
};

struct anchor {
	uint32_t generation; /* of the chunk */
	uint32_t slot;
	uint32_t offset; /* bytes before it */
};

struct window {
	uint32_t generation;
	uint64_t gear[256]; /* of the rolling hash */
	struct window_chunk chunks[SPAN];
	struct anchor anchors[ANCHORS]; /* by hash; the newest of each */
};

int replaced_get(struct writing *w, const struct chunk *chunk,
                 struct replaced *ret)
{
	uint64_t number = chunk->replaces;
	int r;

	*ret = (struct replaced){.name = number};
	/* The log can have patches from before deltas were switched off. */
	if (!number || (w->store->options.delta_depth <= 0 &&
	                chunk->block.kind != BLOCK_PATCH))
		return 0;
	r = disk_get_u64(w->txn, w->disk->dedup_refs, number, &number);
	if (r == 0 || r == -ENOENT)
		r = chunk_header_get(w->store, w->txn, number, &ret->header);
	if (r == 0)
		ret->number = number;
	return r == -EUCLEAN || r == -ENOENT ? 0 : r;
}

/* ---- Loading ------------------------------------------------------------ */

int window_create(struct window **ret_window)
{
	struct window *window = calloc(1, sizeof(*window));

	if (!window)
		return -ENOMEM;
	for (unsigned i = 0; i < ARRAY_SIZE(window->gear); i++) {
		uint8_t byte = (uint8_t)i;

		window->gear[i] = XXH3_64bits(&byte, 1);
	}
	*ret_window = window;
	return 0;
}

static void window_chunk_release(struct window_chunk *c)
{
	chunk_unref(c->content);
	free(c->splice);
	*c = (struct window_chunk){0};
}

void window_destroy(struct window *window)
{
	if (!window)
		return;
	for (unsigned i = 0; i < SPAN; i++)
		window_chunk_release(&window->chunks[i]);
	free(window);
}

static struct anchor *anchor_slot(struct window *window, uint64_t hash)
{
	/* The upper bits are zero in all anchors. */
	return &window->anchors[(hash >> 32) % ANCHORS];
}

/* Add the anchors of a chunk that has come into the window. */
static void anchors_add(struct window *window, struct window_chunk *c)
{
	const uint8_t *data = c->content->data;
	uint32_t len = c->content->len;
	uint64_t hash = 0, before = 0;

	for (uint32_t i = 0; i < len; i++) {
		hash = (hash << 1) + window->gear[data[i]];
		if (hash >> ANCHOR_SHIFT || i < ANCHOR_BYTES - 1)
			continue;
		/* A run of equal bytes gets one anchor only. */
		if (hash != before)
			*anchor_slot(window, hash) = (struct anchor){
			        c->generation, (uint32_t)(c - window->chunks),
			        i + 1};
		before = hash;
	}
}

/* Read the pieces of a splice, and the costs of its bases. */
static int pieces_load(struct writing *w, struct window_chunk *c)
{
	const struct chunk_header *h = &c->replaced.header;
	int r = 0;

	c->splice = malloc(sizeof(*c->splice));
	if (!c->splice)
		return -ENOMEM;
	for (unsigned i = 0; r == 0 && i < h->base_count; i++) {
		struct chunk_header base;

		r = chunk_header_get(w->store, w->txn, h->bases[i], &base);
		if (r == 0)
			c->costs[i] = (uint8_t)splice_base_cost(&base);
	}
	return r == 0 ? chunk_splice_get(w->store, w->txn, c->replaced.number,
	                                 c->splice)
	              : r;
}

/* Load what the group's chunk `at` replaces.  Damaged chunks are left out. */
static int window_load(struct window *window, struct writing *w, size_t at,
                       struct window_chunk *c)
{
	int r;

	window_chunk_release(c);
	c->at = at + 1;
	c->generation = ++window->generation;
	/* A patch has its bytes in place: other chunks do not have them. */
	if (w->txg->chunks[at]->block.kind == BLOCK_PATCH)
		return 0;
	r = replaced_get(w, w->txg->chunks[at], &c->replaced);
	if (r < 0 || !c->replaced.number)
		return r;
	r = chunk_decode(w->store, w->txn, c->replaced.number, &c->content);
	if (r == 0 && c->replaced.header.tag == BLOCK_TAG_SPLICE)
		r = pieces_load(w, c);
	if (r == 0) {
		anchors_add(window, c);
		return 0;
	}
	chunk_unref(c->content);
	c->content = NULL;
	return r == -EUCLEAN || r == -ENOENT ? 0 : r;
}

int window_move(struct window *window, struct writing *w, size_t reach)
{
	size_t first = w->at - MIN(w->at, reach);
	size_t end = MIN(w->at + reach + 1, w->txg->chunks_len);
	int r = 0;

	for (size_t at = first; r == 0 && at < end; at++) {
		struct window_chunk *c = &window->chunks[at % SPAN];

		if (c->at == at + 1)
			continue;
		store_rest(w->store);
		r = window_load(window, w, at, c);
	}
	store_rest(w->store);
	return r;
}

/* ---- Matching ----------------------------------------------------------- */

static uint32_t equal_ahead(const uint8_t *a, const uint8_t *b, uint32_t most)
{
	uint32_t n = 0;
	uint64_t x, y;

	for (; n + sizeof(x) <= most; n += sizeof(x)) {
		memcpy(&x, a + n, sizeof(x));
		memcpy(&y, b + n, sizeof(y));
		if (x != y)
			break;
	}
	while (n < most && a[n] == b[n])
		n++;
	return n;
}

static uint32_t equal_behind(const uint8_t *a, const uint8_t *b, uint32_t most)
{
	uint32_t n = 0;

	while (n < most && a[-1 - (int64_t)n] == b[-1 - (int64_t)n])
		n++;
	return n;
}

/* A search for the bytes of a chunk. */
struct search {
	struct window *window;
	const struct chunk *chunk;
	uint32_t done; /* bytes of the chunk that were passed */
	struct match *matches;
	unsigned count, most;
};

static void match_add(struct search *s, const struct window_chunk *c,
                      uint32_t from, uint32_t to, uint32_t len)
{
	s->matches[s->count++] = (struct match){to, len, c, from};
	s->done = to + len;
}

/* Extend a match beyond the end of its chunk into those that followed it. */
static void match_follow(struct search *s, const struct window_chunk *c)
{
	const struct chunk *chunk = s->chunk;

	while (s->count < s->most && s->done < chunk->len) {
		size_t at = c->at; /* index of the next one */
		uint32_t n;

		c = &s->window->chunks[at % SPAN];
		if (c->at != at + 1 || !c->content)
			return;
		n = equal_ahead(chunk->data + s->done, c->content->data,
		                MIN(chunk->len - s->done, c->content->len));
		if (n < MATCH_LEAST)
			return;
		match_add(s, c, 0, s->done, n);
		if (n < c->content->len)
			return;
	}
}

/* Look up the anchor after the first `at` bytes of the chunk. */
static void match_try(struct search *s, uint64_t hash, uint32_t at)
{
	const struct anchor *a = anchor_slot(s->window, hash);
	const struct window_chunk *c = &s->window->chunks[a->slot];
	const struct chunk *chunk = s->chunk;
	uint32_t back, ahead;

	if (!c->content || c->generation != a->generation)
		return;
	back = equal_behind(chunk->data + at, c->content->data + a->offset,
	                    MIN(at - s->done, a->offset));
	ahead = equal_ahead(chunk->data + at, c->content->data + a->offset,
	                    MIN(chunk->len - at, c->content->len - a->offset));
	if (back + ahead < MATCH_LEAST)
		return;
	match_add(s, c, a->offset - back, at - back, back + ahead);
	if (a->offset + ahead == c->content->len)
		match_follow(s, c);
}

unsigned window_match(struct window *window, const struct chunk *chunk,
                      struct match *ret_matches, unsigned most)
{
	struct search s = {window, chunk, 0, ret_matches, 0, most};
	uint64_t hash = 0;
	uint32_t at = 0;

	while (at < chunk->len && s.count < most) {
		uint32_t done = s.done;

		hash = (hash << 1) + window->gear[chunk->data[at++]];
		if (hash >> ANCHOR_SHIFT || at < done + ANCHOR_BYTES)
			continue;
		match_try(&s, hash, at);
		if (s.done != done) {
			at = s.done;
			hash = 0;
		}
	}
	return s.count;
}
